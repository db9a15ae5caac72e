"""The folders of a data set as a tree, and what their names mean."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from facog_lab.data.listing import SUFFIXES, Listing, suffix

# Usual names of the halves; any case, and also with "set", "data" or "images" after them.
ROLES = {
    "train": ("train", "training"),
    "test": ("test", "testing"),
    "val": ("val", "valid", "validation", "eval", "evaluation"),
}
WORDS = {word: role for role, words in ROLES.items() for word in words}


@dataclass
class Branch:
    """A folder of the data set.

    Attributes:
        path: relative, with a slash at the end; empty for the outermost.
        folders: in it, by name.
        images: in it, not deeper.
        others: files in it that are no images by their suffix.
    """

    path: str
    folders: dict[str, Branch] = field(default_factory=dict)
    images: list[str] = field(default_factory=list)
    others: list[str] = field(default_factory=list)

    def inner(self) -> list[Branch]:
        """This folder and all below it."""
        found = [self]
        for folder in found:
            found += folder.folders.values()
        return found

    def deep(self) -> list[str]:
        """All images in it, sorted."""
        return sorted(image for folder in self.inner() for image in folder.images)

    def is_sorted(self) -> bool:
        """Whether folders in it hold images."""
        return any(folder.deep() for folder in self.folders.values())


def tree(listing: Listing) -> Branch:
    """The outermost folder, with all that is listed in it."""
    folders = {"": Branch("")}
    for name in listing.names:  # sorted, so a folder comes before what is in it
        above, slash, own = name.rstrip("/").rpartition("/")
        parent = folders[above + slash]
        if name.endswith("/"):
            folders[name] = parent.folders[own] = Branch(name)
        elif suffix(own) in SUFFIXES:
            parent.images.append(name)
        else:
            parent.others.append(name)
    return folders[""]


def role_of(name: str) -> str | None:
    """What a folder of this name is for: "train", "test", "val", or nothing that its name says."""
    plain = re.sub(r"[\W_]+", "", name.casefold())
    return WORDS.get(plain) or WORDS.get(re.sub(r"(set|data|images)$", "", plain))


def roles_in(folder: Branch) -> set[str]:
    """What the folders in a folder are for."""
    return {role for name in folder.folders if (role := role_of(name))}


def disguised(folder: Branch) -> list[str] | None:
    """Names that differ in nothing but the words for halves, as cats_train and cats_test."""
    halves: dict[str, dict[str, str]] = {}
    word = re.compile(rf"(?<![^\W\d_])({'|'.join(WORDS)})(?![^\W\d_])")
    for name in folder.folders:
        if found := word.search(plain := name.casefold()):
            halves.setdefault(word.sub("*", plain), {})[WORDS[found[0]]] = name
    return next((list(names.values()) for names in halves.values() if len(names) > 1), None)


def unwrapped(folder: Branch, own_name: str) -> Branch:
    """The folder that holds the halves or the classes, below those that hold one folder alone."""
    while len(folder.folders) == 1:
        ((name, only),) = folder.folders.items()
        halves = [half for inner, half in only.folders.items() if role_of(inner)]
        whole = roles_in(only) > {"train"} and all(half.is_sorted() for half in halves)
        if not only.is_sorted() or (role_of(name) and name != own_name and not whole):
            break
        folder = only
    return folder


def innermost(half: Branch) -> Branch:
    """What holds a half's classes: archives often have it twice, as train/train/<class>."""
    while len(half.folders) == 1:
        (only,) = half.folders.values()
        if not only.is_sorted():
            break
        half = only
    return half
