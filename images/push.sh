#!/bin/sh
# Pushes the images that build.sh made, with docker or else buildah; log in before.
# REGISTRY and VERSION as for build.sh, but REGISTRY must be set.
set -eu
cd "$(dirname "$0")/.."
if docker info >/dev/null 2>&1; then
    push="docker push"
elif command -v buildah >/dev/null; then
    push="buildah push"
else
    echo "images: neither a docker engine nor buildah is here" >&2
    exit 1
fi
registry=${REGISTRY:?name the registry and folder to push to}
version=${VERSION:-$(sed -n 's/^version = "\(.*\)"$/\1/p' pyproject.toml)}
for role in "$@"; do
    $push "$registry/admlops-$role-python:$version"
done
