FROM busybox AS base
WORKDIR /app
COPY node/package.json .
EXPOSE 3000

FROM base AS dev
ENV NODE_ENV=development
CMD ["npm", "run", "dev"]

FROM base AS prod
ENV NODE_ENV production
COPY node/server.js .
CMD npm start
