ARG TAG=latest
ARG BASE=busybox:$TAG
FROM $BASE
ARG TAG
ARG A=one B="two words" C
ARG D=${A}-${B:+set}-${C:-unset}
ENV FROM_ARG=$D TAG=${TAG:-none} EMPTY=
ENV OVER=env
ARG OVER=arg
ENV SEEN=$OVER
RUN env | grep -E '^(A|B|D|FROM_ARG|TAG|SEEN)=' | sort > /seen
