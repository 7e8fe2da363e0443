FROM busybox
RUN echo start && \
    # first
    echo "a \
b" > /a && \

    echo c \
      d > /c \
    && true
  run echo indented > /indented
RUN echo 'a # b' > /hash # and this is for the shell
