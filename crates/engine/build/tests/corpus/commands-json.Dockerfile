FROM busybox
RUN ["/bin/sh", "-c", "echo exec > /exec"]
RUN ["touch", "/a b", "/$HOME"]
CMD ["a", "b\tc", "\u00e9"]
ENTRYPOINT ["/bin/echo", "[x]"]
