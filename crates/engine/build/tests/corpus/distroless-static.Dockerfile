FROM busybox AS build
RUN mkdir -p /rootfs/etc /rootfs/tmp /rootfs/home/nonroot && \
    echo 'root:x:0:0:root:/root:/sbin/nologin' > /rootfs/etc/passwd && \
    echo 'nonroot:x:65532:65532::/home/nonroot:/sbin/nologin' >> /rootfs/etc/passwd && \
    chmod 1777 /rootfs/tmp && chown 65532:65532 /rootfs/home/nonroot

FROM scratch
COPY --from=build /rootfs/ /
ENV PATH=/usr/local/bin:/usr/bin:/bin SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt
USER nonroot
WORKDIR /home/nonroot
