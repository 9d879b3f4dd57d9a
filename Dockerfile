# syntax=docker/dockerfile:1

# One binary in a small image: `docker build -t breakwater .`

FROM rust:1.95-slim-trixie AS build
WORKDIR /build
# Symbols and line tables are four fifths of the binary. A panic names its file and line without them.
ENV CARGO_PROFILE_RELEASE_DEBUG=none \
    CARGO_PROFILE_RELEASE_STRIP=symbols
COPY . .
# The caches stay with the builder, so only what changed is compiled again; the binary is copied out
# because they are no part of the image.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/build/target \
    cargo build --release --locked --bin breakwater \
    && install -D target/release/breakwater /out/breakwater

FROM debian:trixie-slim
# SQLite and the root certificates are inside the binary: nothing to install.
RUN useradd --system --uid 10001 --user-group --no-create-home --shell /usr/sbin/nologin breakwater \
    && install -d -o breakwater -g breakwater /data
COPY --from=build /out/breakwater /usr/local/bin/breakwater

USER 10001:10001
WORKDIR /data
VOLUME /data
ENV API_HOST=0.0.0.0 \
    API_PORT=8080 \
    DATABASE_URL=sqlite:///data/breakwater.db
EXPOSE 8080
STOPSIGNAL SIGTERM
# The binary asks itself: the image has no other HTTP client.
HEALTHCHECK --interval=10s --timeout=5s --start-period=10s --retries=3 CMD ["breakwater", "health"]
ENTRYPOINT ["breakwater"]
CMD ["serve"]
