# syntax=docker/dockerfile:1.20
FROM scratch
COPY --parents data/sub/deep/d.txt docs/guide/one.md /kept/
COPY --parents ./data/./sub/*.md /pivot/
COPY --parents docs/**/*.md /deep/
