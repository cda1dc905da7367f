"""How a launcher's command is interrupted: once, and then its clean-up comes to its end."""

import signal

from serving.local import SIGNALS


def install() -> None:
    """Let each of SIGNALS interrupt this process once, except those that it was started to ignore, as by `nohup`."""
    for number in SIGNALS:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, interrupt_once)


def interrupt_once(number, frame):
    """Raise KeyboardInterrupt; later signals do nothing, because they would cut short the clean-up that follows.

    They are blocked to the end of the process. One that arrived just before meets a handler that does nothing: under
    SIG_IGN Python would complain of it.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    for each in SIGNALS:
        signal.signal(each, lambda *_: None)
    raise KeyboardInterrupt
