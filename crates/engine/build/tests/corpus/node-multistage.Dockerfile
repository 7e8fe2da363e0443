FROM busybox AS deps
WORKDIR /app
COPY node/package*.json ./
RUN mkdir node_modules && cp package.json node_modules/

FROM busybox AS build
WORKDIR /app
COPY --from=deps /app/node_modules ./node_modules
COPY node .
RUN mkdir dist && cat src/*.js > dist/bundle.js

FROM busybox AS runner
ENV NODE_ENV=production \
    PORT=3000
WORKDIR /app
RUN echo 'nodejs:x:1001:' >> /etc/group && echo 'next:x:1001:1001::/app:/bin/sh' >> /etc/passwd
COPY --from=build --chown=next:nodejs /app/dist ./dist
COPY --from=build --chown=1001:1001 /app/public ./public
USER next
EXPOSE 3000
CMD ["node", "dist/bundle.js"]
