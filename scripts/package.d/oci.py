"""Writes an image in OCI's layout, as a tar: `oci.py ROOT FILE ARCHITECTURE VERSION USER EFFORT`.

It is a function of what is in ROOT and of SOURCE_DATE_EPOCH: sorted, of one age, and root's but for what the user writes to.
podman, docker (25 or later), skopeo and containerd load the tar as it is; unpacked it is the layout.
"""

import datetime
import gzip
import hashlib
import io
import json
import os
import sys
import tarfile

USERS = {"var/lib/tidegate": 0o700, "run/tidegate": 0o755}
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"


def main(root, file, architecture, version, user, effort):
    epoch = int(os.environ["SOURCE_DATE_EPOCH"])
    created = datetime.datetime.fromtimestamp(epoch, datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
    blobs = {}

    def blob(media_type, data):
        digest = hashlib.sha256(data).hexdigest()
        blobs[digest] = data
        return {"mediaType": media_type, "digest": f"sha256:{digest}", "size": len(data)}

    layer = layer_of(root, epoch, int(user))
    annotations = {
        "org.opencontainers.image.title": "tidegate",
        "org.opencontainers.image.description": "MQTT edge gateway whose rules are WebAssembly plugins",
        "org.opencontainers.image.version": version,
        "org.opencontainers.image.created": created,
        "org.opencontainers.image.licenses": "Apache-2.0 OR MIT",
    }
    config = {
        "created": created,
        "architecture": architecture,
        "os": "linux",
        "config": {
            "User": f"{user}:{user}",
            "Env": ["PATH=/usr/bin"],
            "Entrypoint": ["/usr/bin/tidegate"],
            "Cmd": ["run", "--config", "/etc/tidegate/tidegate.toml"],
            "Volumes": {"/var/lib/tidegate": {}},
            "WorkingDir": "/var/lib/tidegate",
            "StopSignal": "SIGTERM",
            "Labels": annotations,
        },
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(layer).hexdigest()}"]},
        "history": [{"created": created, "created_by": "scripts/package"}],
    }
    if architecture == "arm64":
        config["variant"] = "v8"
    manifest = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": blob(CONFIG, as_json(config)),
        "layers": [blob(LAYER, compressed(layer, int(effort)))],
        "annotations": annotations,
    }
    platform = {key: config[key] for key in ("architecture", "os", "variant") if key in config}
    entry = blob(MANIFEST, as_json(manifest)) | {
        "platform": platform,
        "annotations": {
            "org.opencontainers.image.ref.name": version,
            "io.containerd.image.name": f"localhost/tidegate:{version}",  # as which docker and containerd load it
        },
    }
    index = {"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": [entry]}
    files = {"index.json": as_json(index), "oci-layout": as_json({"imageLayoutVersion": "1.0.0"})}
    files |= {f"blobs/sha256/{digest}": data for digest, data in blobs.items()}
    with tarfile.open(file, "w", format=tarfile.GNU_FORMAT) as tar:
        for folder in ("blobs", "blobs/sha256"):
            tar.addfile(entry_of(folder, epoch, tarfile.DIRTYPE, 0o755))
        for name in sorted(files):
            info = entry_of(name, epoch, tarfile.REGTYPE, 0o644)
            info.size = len(files[name])
            tar.addfile(info, io.BytesIO(files[name]))


def layer_of(root, epoch, user):
    """The only layer, a tar."""
    out = io.BytesIO()
    paths = sorted(
        os.path.relpath(os.path.join(folder, name), root)
        for folder, folders, files in os.walk(root)
        for name in folders + files
    )
    with tarfile.open(fileobj=out, mode="w", format=tarfile.GNU_FORMAT) as tar:
        for path in paths:
            full = os.path.join(root, path)
            info = tar.gettarinfo(full, arcname=path)
            info.uid = info.gid = 0
            info.uname = info.gname = ""
            info.mtime = epoch
            if path == "tmp":
                info.mode = 0o1777
            if path in USERS:
                info.uid = info.gid = user
                info.mode = USERS[path]
            if info.isreg():
                with open(full, "rb") as data:
                    tar.addfile(info, data)
            else:
                tar.addfile(info)
    return out.getvalue()


def entry_of(name, epoch, kind, mode):
    info = tarfile.TarInfo(name)
    info.type, info.mode, info.mtime = kind, mode, epoch
    return info


def compressed(data, effort):
    out = io.BytesIO()
    with gzip.GzipFile(fileobj=out, mode="wb", compresslevel=effort, mtime=0, filename="") as file:
        file.write(data)
    return out.getvalue()


def as_json(value):
    return json.dumps(value, separators=(",", ":"), sort_keys=True).encode()


if __name__ == "__main__":
    main(*sys.argv[1:])
