"""`batten completion`: what completes commands and options in a shell, made of the parsers."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Callable, Iterator, Mapping

NAME = "completion"
HELP = "print what completes commands and options in a shell"
EPILOG = (
    "for bash, put into ~/.bashrc: source <(batten completion bash); for zsh the same in ~/.zshrc, "
    "after compinit; for fish: batten completion fish > ~/.config/fish/completions/batten.fish"
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("shell", choices=tuple(_WRITERS), help="the shell")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def execute(arguments: argparse.Namespace) -> int:
    from batten.cli.main import COMMANDS, make_parser
    from batten.cli.output import emit_lines, emit_object

    parsers = {name: make_parser(name) for name in COMMANDS}
    lines = list(_WRITERS[arguments.shell](COMMANDS, parsers))
    if arguments.json:
        emit_object({"shell": arguments.shell, "script": "\n".join(lines)})
    else:
        emit_lines(lines)
    return 0


Parsers = Mapping[str, argparse.ArgumentParser]


def _write_bash(commands: Mapping[str, str], parsers: Parsers) -> Iterator[str]:
    """Where nothing is offered, bash offers files."""
    yield "_batten() {"
    yield "    local current=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD-1]} words="
    yield "    if [ $COMP_CWORD = 1 ]; then"
    yield f"        words={shlex.quote(' '.join(commands))}"
    yield "    else"
    yield '        case "${COMP_WORDS[1]} $before" in'
    for name, parser in parsers.items():
        for word, choices in _list_choices(name, parser):
            quoted = shlex.quote(" ".join(choices))
            yield f"            {shlex.quote(f'{name} {word}')}) words={quoted} ;;"
    yield "        esac"
    yield '        case "${COMP_WORDS[1]} $current" in'
    for name, parser in parsers.items():
        options = " ".join(option for option, _ in _list_options(parser))
        yield f"            {shlex.quote(f'{name} -')}*) words={shlex.quote(options)} ;;"
    yield "        esac"
    yield "    fi"
    yield '    COMPREPLY=($(compgen -W "$words" -- "$current"))'
    yield "}"
    yield "complete -o default -F _batten batten"


def _write_zsh(commands: Mapping[str, str], parsers: Parsers) -> Iterator[str]:
    yield "autoload -U +X bashcompinit && bashcompinit"
    yield from _write_bash(commands, parsers)


def _write_fish(commands: Mapping[str, str], parsers: Parsers) -> Iterator[str]:
    for name, told in commands.items():
        words = ["complete", "-c", "batten", "-n", "__fish_use_subcommand", "-f", "-a", name]
        yield shlex.join([*words, "-d", told])
    for name, parser in parsers.items():
        seen = f"__fish_seen_subcommand_from {name}"
        choices = dict(_list_choices(name, parser))
        for option, action in _list_options(parser):
            words = ["complete", "-c", "batten", "-n", seen, "-l", option.removeprefix("--")]
            if option in choices:
                words += ["-x", "-a", " ".join(choices[option])]
            elif action.nargs != 0:
                words.append("-r")
            yield shlex.join([*words, "-d", (action.help or "").replace("%%", "%")])
        if name in choices:
            words = ["complete", "-c", "batten", "-n", seen, "-f", "-a", " ".join(choices[name])]
            yield shlex.join(words)


_WRITERS: dict[str, Callable[[Mapping[str, str], Parsers], Iterator[str]]] = {
    "bash": _write_bash,
    "zsh": _write_zsh,
    "fish": _write_fish,
}


def _list_options(parser: argparse.ArgumentParser) -> Iterator[tuple[str, argparse.Action]]:
    for action in parser._actions:
        for option in action.option_strings:
            if option.startswith("--"):
                yield option, action


def _list_choices(name: str, parser: argparse.ArgumentParser) -> Iterator[tuple[str, list[str]]]:
    """The word before what has choices, and these: an option, or the command itself."""
    for action in parser._actions:
        if action.choices is not None:
            for word in action.option_strings or [name]:
                yield word, [str(each) for each in action.choices]
