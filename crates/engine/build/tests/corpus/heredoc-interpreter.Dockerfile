FROM busybox
RUN sh -s -- given <<'EOF'
echo "$1" > /argument
EOF
RUN cat <<-ONE > /one && cat <<TWO > /two
	tabs go
	ONE
	tabs stay
TWO
