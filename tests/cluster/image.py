#!/usr/bin/env python3
"""Makes a container image of one static program, without a registry and without a container tool.

    image.py OUT.tar NAME:TAG PROGRAM [ENTRYPOINT…]

PROGRAM becomes /bin/<its name> in a `docker save` archive that `ctr images import` takes. Where it is busybox, its applets become
links. Without an entrypoint the pod has to say its command.
"""

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

        for name in ("bin", "etc", "root", "www"):
            folder(name)
        folder("tmp", 0o1777)
        file("etc/passwd", b"root:x:0:0:root:/root:/bin/sh\n", 0o644)
        file("etc/group", b"root:x:0:\n", 0o644)
        with open(program, "rb") as source:
            file(f"bin/{os.path.basename(program)}", source.read(), 0o755)
        if os.path.basename(program) == "busybox":
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


def main() -> None:
    if len(sys.argv) < 4:
        sys.exit(__doc__)
    out, name, program, *entrypoint = sys.argv[1:]
    if not statically_linked(program):
        sys.exit(f"image.py: {program} is not a static program; for busybox install Debian's busybox-static")
    blob = layer(program)
    config = {
        "architecture": {"x86_64": "amd64", "aarch64": "arm64"}[os.uname().machine],
        "os": "linux",
        "config": {"Env": ["PATH=/bin"], "Entrypoint": entrypoint or None, "WorkingDir": "/"},
        "rootfs": {"type": "layers", "diff_ids": ["sha256:" + hashlib.sha256(blob).hexdigest()]},
        "history": [{"created_by": "tests/cluster/image.py"}],
    }
    manifest = [{"Config": "config.json", "RepoTags": [name], "Layers": ["layer.tar"]}]
    with tarfile.open(out, "w") as tar:
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
