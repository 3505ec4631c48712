#!/usr/bin/env python3
"""Makes a container image of one static program, without a registry and without a container tool.

    image.py OUT.tar [--user UID:GID] NAME:TAG PROGRAM [ENTRYPOINT…]

PROGRAM becomes /bin/<its name> in a `docker save` archive that `ctr images import` takes; it is all that the image holds. Where it
is busybox, its applets become links, and the folders that a shell wants are there. Without an entrypoint the pod has to say its
command; without --user it runs as root.
"""

import argparse
import hashlib
import io
import json
import os
import subprocess
import sys
import tarfile


def layer(program: str) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:

        def folder(name: str, mode: int = 0o755) -> None:
            entry = tarfile.TarInfo(name)
            entry.type, entry.mode = tarfile.DIRTYPE, mode
            tar.addfile(entry)

        def file(name: str, content: bytes, mode: int) -> None:
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(content), mode
            tar.addfile(entry, io.BytesIO(content))

        shell = os.path.basename(program) == "busybox"
        folder("bin")
        with open(program, "rb") as source:
            file(f"bin/{os.path.basename(program)}", source.read(), 0o755)
        if shell:
            for name in ("etc", "root", "www"):
                folder(name)
            folder("tmp", 0o1777)
            file("etc/passwd", b"root:x:0:0:root:/root:/bin/sh\n", 0o644)
            file("etc/group", b"root:x:0:\n", 0o644)
            applets = subprocess.run([program, "--list"], check=True, capture_output=True, text=True).stdout
            for applet in applets.split():
                if applet != "busybox":
                    entry = tarfile.TarInfo(f"bin/{applet}")
                    entry.type, entry.linkname, entry.mode = tarfile.SYMTYPE, "busybox", 0o777
                    tar.addfile(entry)
    return out.getvalue()


def statically_linked(program: str) -> bool:
    """No PT_INTERP: nothing else has to be in the image for it to run."""
    with open(program, "rb") as source:
        head = source.read(64)
        if head[:5] != b"\x7fELF\x02":
            return False
        offset, size, count = (int.from_bytes(head[a:b], "little") for a, b in ((32, 40), (54, 56), (56, 58)))
        source.seek(offset)
        return all(int.from_bytes(source.read(size)[:4], "little") != 3 for _ in range(count))


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--user", metavar="UID:GID", type=numeric_user)
    parser.add_argument("out")
    parser.add_argument("name")
    parser.add_argument("program")
    parser.add_argument("entrypoint", nargs=argparse.REMAINDER)
    return parser.parse_args()


def numeric_user(text: str) -> str:
    """Kubelet refuses a name where a pod says runAsNonRoot: it cannot know whose it is."""
    if not all(part.isdigit() for part in text.split(":")):
        raise argparse.ArgumentTypeError(f"'{text}' is not UID or UID:GID in numbers")
    return text


def main() -> None:
    asked = arguments()
    if not statically_linked(asked.program):
        sys.exit(f"image.py: {asked.program} is not a static program; of busybox install Debian's busybox-static, build ours for musl")
    blob = layer(asked.program)
    config = {
        "architecture": {"x86_64": "amd64", "aarch64": "arm64"}[os.uname().machine],
        "os": "linux",
        "config": {"Env": ["PATH=/bin"], "Entrypoint": asked.entrypoint or None, "WorkingDir": "/", "User": asked.user or ""},
        "rootfs": {"type": "layers", "diff_ids": ["sha256:" + hashlib.sha256(blob).hexdigest()]},
        "history": [{"created_by": "tests/cluster/image.py"}],
    }
    manifest = [{"Config": "config.json", "RepoTags": [asked.name], "Layers": ["layer.tar"]}]
    with tarfile.open(asked.out, "w") as tar:
        for path, content in (
            ("config.json", json.dumps(config).encode()),
            ("layer.tar", blob),
            ("manifest.json", json.dumps(manifest).encode()),
        ):
            entry = tarfile.TarInfo(path)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))


if __name__ == "__main__":
    main()
