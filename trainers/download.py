"""Files of the Hugging Face hub: fetched once, afterwards found in its cache on this machine."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from trainers.errors import UserError

_log = logging.getLogger(__name__)
_TIMEOUT_SECONDS = 10
_OFFLINE = "SLIMFRONT_OFFLINE"


def go_offline() -> None:
    """From now on, in this process and those it starts, nothing is fetched: what is not on this machine is refused."""
    # The hub's libraries, trackers and Ray each have a switch of their own.
    os.environ.update({_OFFLINE: "1"}, HF_HUB_OFFLINE="1", WANDB_MODE="offline", RAY_USAGE_STATS_ENABLED="0")


def is_offline() -> bool:
    """Whether ``go_offline`` was called."""
    return bool(os.environ.get(_OFFLINE))


def downloaded(
    repository: str,
    *,
    kind: Literal["model", "dataset"],
    patterns: Sequence[str],
    advice: str,
    revision: str | None = None,
) -> Path:
    """The local folder with the files of a repository that match; nothing is shown on the terminal.

    Without network, or with HF_HUB_OFFLINE set, what an earlier download left in the hub's cache is used.

    Args:
        repository: Its id: ``owner/name``.
        patterns: As in a shell; ``*`` also matches across folders.
        advice: What the user can do when the files cannot be had; the last sentences of the message.
        revision: Branch, tag or commit; the main branch when left out.

    Raises:
        UserError: when the files are neither on the hub nor here.
    """
    from huggingface_hub import snapshot_download

    _log.info("hub %s %s: looking for %s", kind, repository, ", ".join(patterns))
    problem = _problem(repository, kind, revision)
    try:
        with _silent_and_impatient():
            return Path(
                snapshot_download(
                    repository,
                    repo_type=kind,
                    revision=revision,
                    allow_patterns=list(patterns),
                    etag_timeout=_TIMEOUT_SECONDS,
                    local_files_only=problem is not None,
                )
            )
    except Exception as error:
        raise UserError(
            f"cannot get the {kind} {repository!r} from the Hugging Face hub ({_reason(problem or error)}), "
            f"and there is no complete earlier download of it. {advice}"
        ) from error


def _problem(repository: str, kind: str, revision: str | None) -> Exception | None:
    """Why the hub does not give the repository; None when it does.

    ``snapshot_download`` (huggingface_hub 2.4.0) sets no time limit for its first question: a network that swallows
    packets would stop the program for ever.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.errors import OfflineModeIsEnabled

    if is_offline():
        # The library reads its own switch once, when it is first imported.
        return OfflineModeIsEnabled("no network is used")
    try:
        HfApi().repo_info(repository, repo_type=kind, revision=revision, timeout=_TIMEOUT_SECONDS)
    # Any kind: proxies, certificates, HTTP and the hub's own errors have no common base. None is hidden: what was
    # downloaded earlier may do, and otherwise this is the reason in the message.
    except Exception as error:
        return error
    return None


@contextmanager
def _silent_and_impatient() -> Iterator[None]:
    from huggingface_hub import get_session
    from huggingface_hub.utils.tqdm import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars

    logger = logging.getLogger("huggingface_hub")
    level, was_disabled = logger.level, are_progress_bars_disabled()
    session = get_session()
    time_limit = session.timeout
    logger.setLevel(logging.ERROR)
    session.timeout = _TIMEOUT_SECONDS
    disable_progress_bars()
    try:
        yield
    finally:
        logger.setLevel(level)
        session.timeout = time_limit
        if not was_disabled:
            enable_progress_bars()


def _reason(error: BaseException) -> str:
    """The first line of the error that was the cause of all others."""
    from huggingface_hub.errors import OfflineModeIsEnabled

    while error.__cause__ is not None:
        error = error.__cause__
    if isinstance(error, OfflineModeIsEnabled):
        return "no network is used: --offline was given, or HF_HUB_OFFLINE is set"
    first_line = str(error).strip().partition("\n")[0].rstrip(".")
    return first_line or type(error).__name__
