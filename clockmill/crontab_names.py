"""Names for the lines of a crontab, which has none: from the comment right above a line, else from its command."""

import re
from collections.abc import Iterator

from clockmill.crontab_file import Entry

#: Words that begin a command and say nothing about it.
_WRAPPERS = {
    "nice",
    "ionice",
    "exec",
    "env",
    "sudo",
    "nohup",
    "time",
    "then",
    "do",
    "command",
    "chronic",
    "cronic",
    "{",
    "(",
}
_WITH_ARGUMENT = {"flock", "timeout", "chrt", "taskset"}
_CONDITIONS = {"cd", "test", "[", "if", "export", "sleep", "umask", ".", "source", "set", "fi", "}", ")", "command"}
_INTERPRETERS = {"sh", "bash", "dash", "zsh", "python", "python3", "perl", "php", "ruby", "node", "run-parts"}
_ENDINGS = re.compile(r"\.(sh|py|pl|rb|php|js)$")
_TOLD_NAME = re.compile(r"#+\s*(?:name|job)\s*[:=]\s*(\S.*?)\s*", re.IGNORECASE)
#: A comment of so many words above a line is taken for its name.
_NAME_WORDS, _NAME_LENGTH = 5, 40


def names(entries: list[Entry], taken: set[str]) -> Iterator[str]:
    """A name for each entry: from the comment right above it, else from its command."""
    used = set(taken)
    for entry in entries:
        name = first = _from_comment(entry.comments) or _from_command(entry.command) or "job"
        count = 1
        while name in used:
            count += 1
            name = f"{first}-{count}"
        used.add(name)
        yield name


def _from_comment(comments: list[str]) -> str:
    above = comments[-1] if comments else ""
    told = _TOLD_NAME.fullmatch(above)
    if told:
        return _slug(told[1])
    alone = len(comments) == 1 or (len(comments) > 1 and not comments[-2])
    text = above.lstrip("# \t").rstrip(" .:")
    is_line = re.match(r"[*\d@]", text)
    return _slug(text) if alone and not is_line and len(text.split()) <= _NAME_WORDS else ""


def _from_command(command: str) -> str:
    for part in re.split(r"&&|\|\||[;|]", command):
        words = [word for word in part.split() if "=" not in word]
        while words and (words[0] in _WRAPPERS | _WITH_ARGUMENT or words[0].startswith("-") or words[0].isdigit()):
            options = [word for word in words[1:] if not word.startswith("-")]
            words = options[1:] if words[0] in _WITH_ARGUMENT else words[1:]
        if not words or words[0] in _CONDITIONS:
            continue
        program = words[0].rpartition("/")[2]
        if program in _INTERPRETERS:
            if {"-c", "-e"} & set(words):
                continue
            program = next((word.rpartition("/")[2] for word in words[1:] if not word.startswith("-")), program)
        return _slug(_ENDINGS.sub("", program))
    return ""


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9_]+", "-", text.lower())[:_NAME_LENGTH].strip("-_")
