ARG FUNCTION_DIR="/function"
FROM busybox AS build
ARG FUNCTION_DIR
RUN mkdir -p ${FUNCTION_DIR}
COPY python/app/* ${FUNCTION_DIR}/
FROM busybox
ARG FUNCTION_DIR
WORKDIR ${FUNCTION_DIR}
COPY --from=build ${FUNCTION_DIR} ${FUNCTION_DIR}
ENTRYPOINT [ "/usr/bin/python", "-m", "awslambdaric" ]
CMD [ "main.handler" ]
