FROM busybox AS planner
WORKDIR /app
COPY rust .
RUN cat Cargo.toml Cargo.lock > recipe.json

FROM busybox AS builder
WORKDIR /app
COPY --from=planner /app/recipe.json recipe.json
RUN mkdir -p target && cp recipe.json target/
COPY rust .
RUN cat src/main.rs > target/tool

FROM scratch AS runtime
COPY --from=builder /app/target/tool /usr/local/bin/tool
ENTRYPOINT ["/usr/local/bin/tool"]
