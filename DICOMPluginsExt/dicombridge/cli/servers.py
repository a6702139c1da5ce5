"""``dicombridge servers``: the saved servers, and those that everybody knows."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from dicombridge.cli import common, network, tables
from dicombridge.errors import DicomBridgeError

HELP = "List, add and remove saved servers; secrets are kept in the keychain, or not at all."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("--json", action="store_true", help="print as JSON")
    actions = parser.add_subparsers(title="actions", metavar="ACTION", dest="action")
    actions.add_parser("list", help="the saved servers; this is also what no action does").set_defaults(act=_list)
    add = actions.add_parser("add", help="save a server")
    add.add_argument("name", metavar="NAME", help="what to call it")
    add.add_argument("address", metavar="ADDRESS", nargs="?", help="address, folder or zip file")
    add.add_argument("--preset", metavar="PRESET", help="instead of an address: one of 'dicombridge servers presets'")
    add.add_argument("--word", action="append", default=[], metavar="NAME=VALUE", help="word of the preset's address")
    add.add_argument("--qido", default="", metavar="URL", help="root of queries, where it is another")
    add.add_argument("--wado", default="", metavar="URL", help="root of retrieval, where it is another")
    add.add_argument("--stow", default="", metavar="URL", help="root of storing, where it is another")
    add.add_argument("--keep-secret", action="store_true", help="put the secret into the keychain")
    network.add_way_arguments(add)
    add.set_defaults(act=_add)
    remove = actions.add_parser("remove", help="forget a server, and its secrets in the keychain")
    remove.add_argument("name", metavar="NAME")
    remove.set_defaults(act=_remove)
    for name, act, text in (("import", _import, "save the servers of a file"), ("export", _export, "write all to one")):
        action = actions.add_parser(name, help=text)
        action.add_argument("file", metavar="FILE")
        action.set_defaults(act=act)
    actions.add_parser("presets", help="servers of which only a few words are missing").set_defaults(act=_presets)
    parser.set_defaults(act=_list)
    for action in actions.choices.values():  # after the action too, where everybody writes it
        action.add_argument("--json", action="store_true", default=argparse.SUPPRESS, help="print as JSON")


def run(arguments: argparse.Namespace) -> None:
    """Do what the action says."""
    arguments.act(arguments)


def _list(arguments: argparse.Namespace) -> None:
    from dicombridge.web.saved import SavedServers

    servers = SavedServers().all()
    if arguments.json:
        _print([server.to_json() for server in servers])
        return
    with tables.Table(("Name", "Address", "Authentication", "Product"), flexible=1) as table:
        for server in servers:
            kind = server.authentication.kind
            table.add(server.name, server.url, "" if kind == "none" else kind, server.profile.product)
    if not servers:
        print("No servers are saved. 'dicombridge servers add NAME ADDRESS' saves one.")


def _add(arguments: argparse.Namespace) -> None:
    from dicombridge.web import presets
    from dicombridge.web.addresses import local_path
    from dicombridge.web.saved import SavedServers
    from dicombridge.web.servers import Server

    if bool(arguments.address) == bool(arguments.preset):
        raise DicomBridgeError("servers add takes an address, or --preset with its words.")
    if arguments.preset:
        words = common.settings(arguments.word, "NAME=VALUE, e.g. host=pacs.example.org", "--word")
        server = presets.preset_server(arguments.preset, arguments.auth or "", arguments.name, **words)
    else:
        path = local_path(arguments.address)
        if path is not None and not path.exists():
            raise DicomBridgeError(f"{arguments.address!r} is no address, and no folder or zip file that is there.")
        server = Server(str(path.resolve()) if path is not None else arguments.address, name=arguments.name)
    server = server.changed(qido=arguments.qido or server.qido, wado=arguments.wado or server.wado)
    server = network.with_way(server.changed(stow=arguments.stow or server.stow), arguments)
    if arguments.keep_secret:
        _keep_secret(server)
    SavedServers().save(server)
    if arguments.json:
        _print(server.to_json())
    else:
        print(f"{server.name}: {server.url}")


def _keep_secret(server: Any) -> None:
    """Put the secret of a server into the keychain, from standard input or as somebody types it."""
    from dicombridge.web import secrets
    from dicombridge.web.authentication import WAYS

    names = WAYS[server.authentication.kind].secrets
    if not names:
        raise DicomBridgeError(f"{server.authentication.kind!r} has no secret to keep; --user or --auth says the kind.")
    for name in names:
        secret = secrets.get_secret(server, name)
        if secret is None and name == names[0]:
            secret = secrets.read_secret(sys.stdin, f"{name.replace('_', ' ').capitalize()} of {server}: ")
        if secret is not None:
            secrets.set_secret(server, name, secret, keep=True)


def _remove(arguments: argparse.Namespace) -> None:
    from dicombridge.web import secrets
    from dicombridge.web.authentication import WAYS
    from dicombridge.web.saved import SavedServers

    saved = SavedServers()
    server = saved.get(arguments.name)
    saved.remove(arguments.name)
    if server is not None:
        for name in WAYS[server.authentication.kind].secrets:
            secrets.forget_secret(server, name)
    if not arguments.json:
        print(f"{arguments.name} is forgotten.")


def _import(arguments: argparse.Namespace) -> None:
    from dicombridge.web.saved import SavedServers

    new = SavedServers().import_file(arguments.file)
    if arguments.json:
        _print([server.to_json() for server in new])
        return
    for server in new:
        print(f"{server.name}: {server.url}")
    print(f"{len(new)} new servers from {arguments.file}")


def _export(arguments: argparse.Namespace) -> None:
    from dicombridge.web.saved import SavedServers

    saved = SavedServers()
    saved.export(arguments.file)
    if not arguments.json:
        print(f"{len(saved.all())} servers in {arguments.file}; there is no secret in it.")


def _presets(arguments: argparse.Namespace) -> None:
    from dicombridge.web.presets import PRESETS

    if arguments.json:
        _print([preset.to_json() for preset in PRESETS])
        return
    with tables.Table(("Preset", "Server", "Address", "Authentication"), flexible=2) as table:
        for preset in PRESETS:
            table.add(preset.name, preset.title, preset.address, preset.ways)


def _print(value: Any) -> None:
    print(tables.json_text(value, indent=2))
