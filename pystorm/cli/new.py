"""`pystorm new`: a folder with a topology that runs, and tests that pass, to be changed into one's own.

The files are in `templates/`, with `{{name}}` for the project's name.
"""

from __future__ import annotations

import importlib.util
import keyword
import re
import sys
from importlib import resources
from pathlib import Path

import click

from pystorm.cli.output import print_line
from pystorm.errors import ConfigError

#: Template -> the file that it becomes, in the order in which they are worth reading.
_FILES = {
    "project.yaml.txt": "{{name}}.yaml",
    "components.py.txt": "{{name}}.py",
    "test.py.txt": "test_{{name}}.py",
    "lines.txt": "lines.txt",
    "readme.md.txt": "README.md",
    "pytest.ini.txt": "pytest.ini",
    "gitignore.txt": ".gitignore",
}

_PLACEHOLDER = "{{name}}"
_NAME = re.compile(r"[a-z][a-z0-9_]*")


@click.command()
@click.argument("project", metavar="NAME", type=click.Path(path_type=Path))
def new(project: Path) -> None:
    """Make a project: the folder NAME with a topology that runs and tests that pass.

    NAME may have a path before it. Its last part becomes the topology's name and that of the Python module with the
    components, so it is made of small letters, digits and _.
    """
    name = project.resolve().name  # of . too
    check_name(name)
    made = write_project(project, name)
    print_line(f"made {project}: {', '.join(made)}")
    print_line("next:")
    for command in (
        f"pystorm run {project / name}.yaml",
        f"pystorm state dump {name} count counts",
        f"pytest {project}",
    ):
        print_line(f"  {command}")


def check_name(name: str) -> None:
    """Whether a name can be that of a topology and of its module.

    Raises:
        ConfigError: it cannot; the message says why, and what would do.
    """
    if not _NAME.fullmatch(name):
        close = re.sub(r"\W+|^(?=\d)", "_", name, flags=re.ASCII).strip("_").lower()
        advice = f"; did you mean {close!r}?" if _NAME.fullmatch(close) else ""
        raise ConfigError(
            f"{name!r} cannot be the name of a project: it becomes the name of a Python module, so it must be made of "
            f"small letters, digits and _, and begin with a letter{advice}"
        )
    if keyword.iskeyword(name) or keyword.issoftkeyword(name):
        raise _taken(name, f"{name!r} is a word of the Python language")
    if name in sys.stdlib_module_names:
        raise _taken(name, f"Python's own module {name!r} would be hidden by the project's")
    found = importlib.util.find_spec(name)
    if found is not None and found.origin is not None:
        raise _taken(name, f"the installed module {name!r} would be hidden by the project's")


def _taken(name: str, why: str) -> ConfigError:
    return ConfigError(f"{name!r} cannot be the name of a project: {why}", hint=f"take another, such as my_{name}")


def write_project(folder: Path, name: str) -> list[str]:
    """Write the files of a project; returns their names.

    Raises:
        ConfigError: the folder is there and not empty, is no folder, or cannot be written.
    """
    templates = resources.files("pystorm.cli") / "templates"
    try:
        if folder.is_dir() and any(folder.iterdir()):
            raise ConfigError(f"{folder} is there already and not empty", hint="choose another name, or remove it")
        folder.mkdir(parents=True, exist_ok=True)
        made = []
        for template, target in _FILES.items():
            text = (templates / template).read_text(encoding="utf-8")
            file = folder / target.replace(_PLACEHOLDER, name)
            file.write_text(text.replace(_PLACEHOLDER, name), encoding="utf-8")
            made.append(file.name)
    except OSError as error:
        raise ConfigError(f"cannot make the project in {folder}: {error.strerror or error}") from error
    return made
