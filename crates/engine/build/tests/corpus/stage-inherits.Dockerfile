FROM busybox AS base
ENV A=1
ARG LOCAL=secretless
WORKDIR /work
USER 12:34
LABEL from=base
EXPOSE 1
VOLUME /v
ENTRYPOINT ["/e"]
CMD ["c"]
FROM base
LABEL and=child
RUN echo "$A ${LOCAL}" > /tmp/values
