FROM busybox
COPY node/package.json node/yarn.loc[k] node/.npmr[c] /app/
COPY missing-*/ /nowhere/
WORKDIR /app
RUN ls > /listed
