#!/usr/bin/env python3
"""Makes many Node objects of real size, without kubelets.

    many_nodes.py SERVER CA CERTIFICATE KEY COUNT

A Node in a cluster has some 15 KB: images, managed fields, conditions. Bounded in count, and in time by its requests' limits.
"""

import http.client
import json
import ssl
import sys
import threading
import urllib.parse

THREADS = 8


def node(number: int) -> bytes:
    address = f"10.{64 + number // 65536}.{number // 256 % 256}.{number % 256}"
    images = [
        {"names": [f"example.invalid/library/image-{image}@sha256:{image:064x}", f"example.invalid/library/image-{image}:v1.{image}"],
         "sizeBytes": 10_000_000 + image}
        for image in range(50)
    ]
    conditions = [
        {"type": kind, "status": "False", "reason": f"KubeletHasSufficient{kind}", "message": f"kubelet has sufficient {kind} available",
         "lastHeartbeatTime": "2026-01-01T00:00:00Z", "lastTransitionTime": "2026-01-01T00:00:00Z"}
        for kind in ("MemoryPressure", "DiskPressure", "PIDPressure", "Ready")
    ]
    return json.dumps({
        "apiVersion": "v1", "kind": "Node",
        "metadata": {
            "name": f"edge-{number}",
            "labels": {"openyurt.io/is-edge-worker": "true", "kubernetes.io/hostname": f"edge-{number}",
                       "topology.kubernetes.io/zone": f"zone-{number % 7}"},
            "annotations": {f"example.invalid/note-{note}": "x" * 200 for note in range(10)},
        },
        "spec": {"podCIDR": f"100.{64 + number // 256}.{number % 256}.0/24", "podCIDRs": [f"100.{64 + number // 256}.{number % 256}.0/24"]},
        "status": {
            "addresses": [{"type": "InternalIP", "address": address}, {"type": "Hostname", "address": f"edge-{number}"}],
            "capacity": {"cpu": "4", "memory": "8Gi", "pods": "110"}, "allocatable": {"cpu": "4", "memory": "8Gi", "pods": "110"},
            "conditions": conditions, "images": images,
            "nodeInfo": {"machineID": "0" * 32, "systemUUID": "0" * 36, "bootID": "0" * 36, "kernelVersion": "6.1.0", "osImage": "Debian GNU/Linux 12",
                         "containerRuntimeVersion": "containerd://1.6.20", "kubeletVersion": "v1.36.3", "kubeProxyVersion": "",
                         "operatingSystem": "linux", "architecture": "amd64"},
        },
    }).encode()


def main() -> None:
    server, ca, certificate, key, count = sys.argv[1:]
    context = ssl.create_default_context(cafile=ca)
    context.load_cert_chain(certificate, key)
    address = urllib.parse.urlparse(server).netloc
    failed: list[str] = []

    def some(first: int) -> None:
        connection = http.client.HTTPSConnection(address, context=context, timeout=60)
        for number in range(first, int(count), THREADS):
            connection.request("POST", "/api/v1/nodes", node(number), {"Content-Type": "application/json"})
            answer = connection.getresponse()
            body = answer.read()
            if answer.status != 201:
                failed.append(body.decode()[:300])
                return

    threads = [threading.Thread(target=some, args=(first,)) for first in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failed:
        sys.exit(f"many_nodes.py: {failed[0]}")
    print(f"{count} Nodes of {len(node(1234))} bytes")


if __name__ == "__main__":
    main()
