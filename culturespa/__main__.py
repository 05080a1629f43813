"The command as it is typed, and `python -m culturespa`: Ctrl-C is a line from the first import on"

import sys


def main():
    "Run what was typed; the imports are a part of it, and nothing is done before they are"
    try:
        from culturespa.cli import main as run_typed

        run_typed()
    except KeyboardInterrupt:
        print("culturespa: interrupted", file=sys.stderr)
        sys.exit(130)


if __name__ == "__main__":
    main()
