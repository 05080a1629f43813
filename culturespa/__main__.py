"`python -m culturespa` is `culturespa`"

from culturespa.cli import main

if __name__ == "__main__":
    main()
