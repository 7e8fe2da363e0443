FROM busybox AS base
ENV PNPM_HOME="/pnpm" \
    CI=true
ENV PATH="$PNPM_HOME:$PATH"
WORKDIR /repo

FROM base AS prod-deps
COPY node/package.json node/package-lock.json ./packages/web/
RUN mkdir -p packages/web/node_modules/.bin && ln -s ../left/cli.js packages/web/node_modules/.bin/left

FROM base AS build
COPY node/ packages/web/
RUN mkdir packages/web/dist && cat packages/web/src/*.js > packages/web/dist/index.js

FROM base
COPY --from=prod-deps /repo/packages/web/node_modules/ /repo/packages/web/node_modules
COPY --from=build --chown=1000:1000 /repo/packages/web/dist /repo/packages/web/dist
USER 1000:1000
WORKDIR packages/web
EXPOSE 8000/tcp 9229
CMD [ "node", "dist/index.js" ]
