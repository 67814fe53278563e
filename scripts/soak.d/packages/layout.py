"""Checks an image layout of OCI: `layout.py DIR`. With a second folder the root is unpacked there. Prints user and command."""

import gzip
import hashlib
import io
import json
import os
import sys
import tarfile


def main(layout, root=None):
    def blob(descriptor):
        algorithm, digest = descriptor["digest"].split(":")
        with open(os.path.join(layout, "blobs", algorithm, digest), "rb") as file:
            data = file.read()
        assert hashlib.new(algorithm, data).hexdigest() == digest, f"{digest}: another digest"
        assert len(data) == descriptor["size"], f"{digest}: another size"
        used.add(digest)
        return data

    used = set()
    with open(os.path.join(layout, "oci-layout")) as file:
        assert json.load(file) == {"imageLayoutVersion": "1.0.0"}
    with open(os.path.join(layout, "index.json")) as file:
        (entry,) = json.load(file)["manifests"]
    manifest = json.loads(blob(entry))
    config = json.loads(blob(manifest["config"]))
    layers = [gzip.decompress(blob(layer)) for layer in manifest["layers"]]
    diff_ids = [f"sha256:{hashlib.sha256(layer).hexdigest()}" for layer in layers]
    assert diff_ids == config["rootfs"]["diff_ids"], "layers are not those of the configuration"
    assert entry["platform"]["architecture"] == config["architecture"]
    assert used == set(os.listdir(os.path.join(layout, "blobs", "sha256"))), "blobs that nobody refers to"
    run = config["config"]
    user, group = (int(part) for part in run["User"].split(":"))
    assert user and group, "it runs as root"
    for layer in layers:
        with tarfile.open(fileobj=io.BytesIO(layer)) as tar:
            for member in tar:
                assert not member.name.startswith(("/", "..")), member.name
                assert not member.mode & 0o6000, f"{member.name}: runs as its owner"
                assert member.uid == 0 or member.name in ("var/lib/tidegate", "run/tidegate"), f"{member.name}: not root's"
            if root:
                tar.extractall(root, numeric_owner=True)
    print(run["User"], *run["Entrypoint"], *run["Cmd"])


if __name__ == "__main__":
    main(*sys.argv[1:])
