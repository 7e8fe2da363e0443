from busybox As Builder
run echo made > /made
From busybox
copy --from=BUILDER /made /made
Env A=b
