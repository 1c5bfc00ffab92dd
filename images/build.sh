#!/bin/sh
# Builds the images of the roles given as arguments, with docker or else buildah.
# REGISTRY, BASE_IMAGE, VERSION and IMAGES_BUILD_FLAGS (passed on as they are) may be set.
set -eu
cd "$(dirname "$0")/.."
if docker info >/dev/null 2>&1; then
    build="docker build"
elif command -v buildah >/dev/null; then
    build="buildah bud"
else
    echo "images: neither a docker engine nor buildah is here" >&2
    exit 1
fi
registry=${REGISTRY:-registry.example.com/admlops}
version=${VERSION:-$(sed -n 's/^version = "\(.*\)"$/\1/p' pyproject.toml)}
for role in "$@"; do
    name="$registry/admlops-$role-python:$version"
    echo "images: $name" >&2
    # shellcheck disable=SC2086 # both are lists of words
    $build ${IMAGES_BUILD_FLAGS:-} ${BASE_IMAGE:+--build-arg BASE_IMAGE=$BASE_IMAGE} \
        --build-arg VERSION="$version" --build-arg COMMIT="$(git rev-parse HEAD)" \
        -f "images/$role.Dockerfile" -t "$name" .
done
