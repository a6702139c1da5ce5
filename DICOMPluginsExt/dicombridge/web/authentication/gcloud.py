"""Google's command line tool: the account that somebody signed in to with it."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from dicombridge.errors import AuthenticationError, WebError
from dicombridge.web.addresses import is_loopback
from dicombridge.web.authentication.base import Context, Token, TokenCredentials
from dicombridge.web.cancelling import Cancel
from dicombridge.web.secrets import Secret, hidden

__all__ = ["GcloudCredentials", "check_google_hosts", "find_gcloud", "run_gcloud"]

ANSWER_SECONDS = 60.0
TOKEN_SECONDS = 20 * 60.0
"""The tool does not say how long its token is still good for; it gives the same one until shortly before its end."""
LOOK_SECONDS = 0.05

ELSEWHERE = (
    "~/google-cloud-sdk/bin",
    "/opt/homebrew/bin",
    "/usr/local/bin",
    "/snap/bin",
    "/usr/lib/google-cloud-sdk/bin",
)
"""Where installers put the tool; programs started from a desktop often have a shorter PATH than a terminal."""

# What an application such as Slicer sets for its own Python, with which the tool's Python does not start.
FOREIGN = ("PYTHONHOME", "PYTHONPATH", "PYTHONNOUSERSITE", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH")


class GcloudCredentials(TokenCredentials):
    """The token of ``gcloud auth print-access-token``.

    Raises
    ------
    AuthenticationError
        The server is not Google's.
    """

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        check_google_hosts(context)

    def fetch(self, forced: bool) -> Token:
        del forced
        account = self.context.field("account")
        words = ["auth", "print-access-token", *([f"--account={account}"] if account else [])]
        try:
            text = run_gcloud(words, self.context.cancel).strip()
        except WebError as error:
            raise AuthenticationError(f"{self.context.server}: {error}", error.details, needs=("sign-in",)) from None
        return Token(Secret(text), TOKEN_SECONDS)


def check_google_hosts(context: Context) -> None:
    """Let an account's token, which opens all that the account may do, go to Google only.

    A host of one's own, such as a proxy, is named in the field ``host`` of the authentication. Who is to be trusted is
    for the person to say, so that field is not taken over from a file of servers, see
    :meth:`~dicombridge.web.saved.SavedServers.import_file`.
    """
    allowed = context.field("host").lower()
    for place in context.server.origins:
        google = place.host.endswith(".googleapis.com") and place.scheme == "https"
        if not (google or is_loopback(place.host) or place.host == allowed):
            raise AuthenticationError(
                f"{context.server}: a Google token would let {place} act as you, and that is not Google's. "
                "If it is to have the token, name its host in the field 'host' of the authentication, which is not "
                "taken over from an imported file."
            )


def find_gcloud() -> str:
    """Return the path of Google's command line tool.

    Raises
    ------
    WebError
        It is not installed.
    """
    root = os.environ.get("CLOUDSDK_ROOT_DIR")
    folders = [*([str(Path(root, "bin"))] if root else []), *(str(Path(one).expanduser()) for one in ELSEWHERE)]
    found = shutil.which("gcloud") or shutil.which("gcloud", path=os.pathsep.join(folders))
    if not found:
        raise WebError("The program 'gcloud' is not installed. It is part of the Google Cloud CLI.")
    return found


def run_gcloud(words: Sequence[str], cancel: Cancel | None = None, seconds: float = ANSWER_SECONDS) -> str:
    """Run Google's command line tool, without a shell, and return what it printed.

    Parameters
    ----------
    words
        Its arguments, none of them a secret.
    cancel
        Who may stop waiting.
    seconds
        How long to wait for an answer.

    Raises
    ------
    WebError
        It is not installed, does not answer, or ends with an error, whose text is in ``details``.
    CancelledError
        Somebody asked to stop.
    """
    cancel = cancel or Cancel()
    cancel.check()
    environment = {
        name: value for name, value in os.environ.items() if name not in FOREIGN and not name.startswith("DICOMBRIDGE_")
    }
    environment["CLOUDSDK_CORE_DISABLE_PROMPTS"] = "1"
    shown = " ".join(words[:3])
    with subprocess.Popen(
        [find_gcloud(), *words],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment,
        creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
    ) as process:
        try:
            output, errors = _communicate(process, cancel, seconds)
        except BaseException:
            _kill(process)
            raise
    if process.returncode != 0:
        raise WebError(
            f"'gcloud {shown}' failed. Are you signed in? The command for that is 'gcloud auth login'.",
            details=hidden(errors.decode("utf-8", "replace")),
        )
    return output.decode("utf-8", "replace")


def _communicate(process: subprocess.Popen[bytes], cancel: Cancel, seconds: float) -> tuple[bytes, bytes]:
    """Wait for a program, looking often whether somebody wants to stop."""
    deadline = time.monotonic() + seconds
    while True:
        with suppress(subprocess.TimeoutExpired):
            return process.communicate(timeout=LOOK_SECONDS)
        cancel.check()
        if time.monotonic() > deadline:
            raise WebError(f"'gcloud' did not answer within {seconds:.0f} seconds.")


def _kill(process: subprocess.Popen[bytes]) -> None:
    """End a program, and do not wait for pipes that its children may hold."""
    with suppress(OSError):
        process.kill()
    for pipe in (process.stdout, process.stderr):
        if pipe is not None:
            pipe.close()
