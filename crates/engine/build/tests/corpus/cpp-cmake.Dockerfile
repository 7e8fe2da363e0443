FROM busybox AS toolchain
RUN mkdir -p /usr/lib/cc && for i in 1 2 3; do echo $i > /usr/lib/cc/lib$i.so.1.0; ln -s lib$i.so.1.0 /usr/lib/cc/lib$i.so; done
FROM toolchain AS build
ARG BUILD_TYPE=Release
WORKDIR /src/build
COPY rust/src ../src
RUN cat ../src/*.rs > program && echo $BUILD_TYPE >> program && chmod 4755 program
FROM toolchain AS test
COPY --from=build /src/build/program /program
RUN test -s /program && echo passed > /result
FROM scratch
COPY --from=toolchain /usr/lib/cc/lib*.so* /usr/lib/
COPY --from=build /src/build/program /usr/bin/program
COPY --from=test /result /result
ENTRYPOINT ["/usr/bin/program"]
