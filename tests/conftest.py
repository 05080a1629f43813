"What holds for all tests"

import signal


def pytest_configure(config):
    "Ctrl-C is tried also where a shell started the tests in the background, deaf to it"
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
