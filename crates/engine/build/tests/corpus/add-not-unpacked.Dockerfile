# syntax=docker/dockerfile:1.17
FROM scratch
ADD --unpack=false bundle.tar /as-it-is/
ADD --unpack bundle.tar /unpacked/
