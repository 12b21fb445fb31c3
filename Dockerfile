# The image that takes the place of a CI system's cache plugin. How it is built,
# pinned and used: docs/migrating/README.md.
#
#   docker build -t larder .

# Arguments, so that a mirror can be named, or a digest.
ARG RUST_IMAGE=docker.io/library/rust:1.94.1-slim-bookworm
ARG BASE_IMAGE=gcr.io/distroless/cc-debian13

# An older Debian than the base's: a program runs with the C library that it was
# built with and with newer ones, and this program is also copied into the images
# of jobs.
FROM ${RUST_IMAGE} AS build
WORKDIR /src

# cargo's own variables; not given, they are not set. What is built to try the
# image out needs no minutes for LTO.
ARG CARGO_PROFILE_RELEASE_LTO
ARG CARGO_PROFILE_RELEASE_CODEGEN_UNITS
ARG CARGO_PROFILE_RELEASE_OPT_LEVEL

# The dependencies, in a layer that holds until the manifest or the lock file
# changes. No cache mounts: not every builder has them, they are not pushed with
# --cache-to, and what another checkout left in one can pass for fresh. cargo
# wants a source for each target that the manifest names: these are empty.
COPY Cargo.toml Cargo.lock build.rs ./
RUN mkdir src benches \
    && touch src/lib.rs \
    && echo 'fn main() {}' > src/main.rs \
    && sed -n '/^\[\[bench\]\]$/{n;s|^name = "\(.*\)"$|benches/\1.rs|p}' Cargo.toml \
        | xargs touch \
    && cargo build --locked --release

# cargo compares times, and those of the sources are the checkout's: they can be
# older than what was just built of empty files.
COPY src src
# What `--version` says: the builder gets no .git to tell.
ARG LARDER_COMMIT
ARG SOURCE_DATE_EPOCH
RUN touch src/lib.rs src/main.rs \
    && cargo build --locked --release \
    && mkdir /programs \
    && cp target/release/larder /programs/ \
    && ln -s larder /programs/check \
    && ln -s larder /programs/upload

# C library, CA certificates and a passwd file, without a shell. It runs as root
# unless told otherwise: CI systems mount workspaces that belong to root.
FROM ${BASE_IMAGE}
ARG SOURCE
LABEL org.opencontainers.image.title="larder" \
    org.opencontainers.image.description="A content-defined-chunking, deduplicating cache store for CI" \
    org.opencontainers.image.licenses="MIT OR Apache-2.0" \
    org.opencontainers.image.source="${SOURCE}"
COPY LICENSE-MIT LICENSE-APACHE /usr/share/doc/larder/
# With check and upload, which Concourse starts by their names.
COPY --from=build /programs/ /usr/local/bin/
ENTRYPOINT ["/usr/local/bin/larder", "plugin"]
