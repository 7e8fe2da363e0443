ARG TARGET=x86_64-unknown-linux-musl
FROM busybox AS build
ARG TARGET
ENV RUSTFLAGS="-C target-feature=+crt-static"
WORKDIR /usr/src/tool
COPY rust/Cargo.toml rust/Cargo.lock ./
COPY rust/src ./src
RUN mkdir -p target/$TARGET/release && echo "$RUSTFLAGS" > target/$TARGET/release/tool
FROM scratch
ARG TARGET
COPY --from=build /usr/src/tool/target/${TARGET}/release/tool /
USER 65532:65532
CMD ["/tool"]
