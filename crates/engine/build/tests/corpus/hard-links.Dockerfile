FROM busybox AS tools
RUN mkdir -p /opt/tools/bin /opt/tools/old \
 && echo tool > /opt/tools/bin/tool \
 && for name in ls cat head; do ln /opt/tools/bin/tool /opt/tools/bin/tool-$name; done \
 && ln /opt/tools/bin/tool-ls /opt/tools/old/ls \
 && echo alone > /opt/tools/bin/alone

FROM busybox
COPY --from=tools /opt/tools /opt/tools
COPY --from=tools /opt/tools/bin/ /usr/bin/
COPY --from=tools /opt/tools/bin/tool /opt/one
COPY --from=tools /opt/tools/bin/tool-* /opt/many/
