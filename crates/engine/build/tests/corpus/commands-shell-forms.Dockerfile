FROM busybox
CMD echo "hello $HOME"
ENTRYPOINT ["/bin/sh", "-c"]
SHELL ["/bin/sh", "-ec"]
RUN true && echo with-e > /shell
CMD echo again
