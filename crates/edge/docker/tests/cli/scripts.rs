//! Lines of shell that people have in their scripts.

use crate::daemon::{Daemon, with_daemon};
use std::process::{Command, Stdio};

/// What a script says that runs in the daemon's directory with `docker` as the command line that is tested.
fn sh(docker: &Daemon, script: &str) -> String {
    let bin = docker.dir.join("bin");
    std::fs::create_dir_all(&bin).unwrap();
    let command = docker.command(&[]);
    let _ = std::fs::remove_file(bin.join("docker"));
    let found = which(command.get_program().to_str().unwrap());
    std::os::unix::fs::symlink(found, bin.join("docker")).unwrap();
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
    let output = Command::new("bash")
        .args(["-euo", "pipefail", "-c", script])
        .envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))))
        .env("PATH", path)
        .current_dir(&docker.dir)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{script}: {}{}", text(&output.stdout), text(&output.stderr));
    text(&output.stdout)
}

fn which(program: &str) -> std::path::PathBuf {
    std::env::split_paths(&std::env::var_os("PATH").unwrap())
        .map(|dir| dir.join(program))
        .find(|path| path.is_file())
        .unwrap()
}

#[test]
fn lists_of_ids_go_from_one_command_to_the_next() {
    with_daemon(|docker| {
        docker.import_busybox();
        docker.with_each_cli(|docker| {
            let said = sh(
                docker,
                "for i in 1 2 3; do docker run -d --label batch=a --name box$i busybox sleep 100; done >/dev/null
                 docker run --name done busybox true
                 docker ps -q --filter label=batch=a | wc -l
                 docker stop -t 0 $(docker ps -q --filter name=box1) >/dev/null
                 docker ps -aq --filter status=exited | xargs docker rm | wc -l
                 docker ps -q | xargs docker inspect -f '{{.Name}} {{.State.Status}}' | sort
                 docker ps -q | xargs docker rm -f >/dev/null
                 docker ps -aq | xargs -r docker rm
                 docker images -q --filter dangling=true | xargs -r docker rmi
                 docker volume ls -q | xargs -r docker volume rm
                 docker system prune -f | tail -n 1",
            );
            assert_eq!(said, "3\n2\n/box2 running\n/box3 running\nTotal reclaimed space: 0B\n");
        });
    });
}

#[test]
fn a_script_waits_for_a_container_and_for_its_state() {
    with_daemon(|docker| {
        docker.import_busybox();
        docker.with_each_cli(|docker| {
            let said = sh(
                docker,
                "id=$(docker run -d --cidfile cid busybox sh -c 'read -t 0.1 x; exit 3')
                 test $id = $(cat cid) && rm cid
                 docker wait $id
                 docker start $id >/dev/null; docker wait $id
                 docker rm $id >/dev/null
                 docker run -d --name web busybox sh -c 'sleep 0.2; touch /ready; exec sleep 100' >/dev/null
                 until docker exec web test -e /ready; do sleep 0.1; done
                 until [ \"$(docker inspect -f '{{.State.Running}}' web)\" = true ]; do sleep 0.1; done
                 docker kill -s KILL web; docker wait web
                 if docker exec web true 2>/dev/null; then echo runs; else echo ended; fi
                 docker rm web",
            );
            assert_eq!(said, "3\n3\nweb\n137\nended\nweb\n");
        });
    });
}

#[test]
fn events_are_read_line_by_line() {
    with_daemon(|docker| {
        docker.import_busybox();
        docker.with_each_cli(|docker| {
            let said = sh(
                docker,
                "mkfifo told
                 docker events --filter event=die --format '{{.Actor.Attributes.name}} {{.Actor.Attributes.exitCode}}' >told &
                 events=$!
                 exec 3<told
                 # The stream begins some time after its client was started.
                 until read -t 0.1 first <&3; do docker run --rm --name early busybox true; done
                 docker run --rm --name late busybox sh -c 'exit 7' || true
                 while read name code <&3; do [ $name = late ] && break; done
                 echo $first $name $code
                 kill $events; wait $events || true
                 rm told
                 docker events --since 1 --until $(($(date +%s) + 1)) --filter container=late --filter event=create --format '{{.Action}}' | tail -n 1",
            );
            assert_eq!(said, "early 0 late 7\ncreate\n");
        });
    });
}

#[test]
fn archives_and_files_go_through_pipes() {
    with_daemon(|docker| {
        docker.import_busybox();
        docker.with_each_cli(|docker| {
            let said = sh(
                docker,
                "mkdir -p tree/below; echo one >tree/below/one; printf 'a\\nb\\n' >lines
                 docker run -d --name box busybox sleep 100 >/dev/null
                 tar c tree | docker cp - box:/tmp
                 docker cp box:/tmp/tree - | tar t | sort
                 docker exec box cat /tmp/tree/below/one
                 docker run --rm -i busybox sh -c 'wc -l; echo end' <lines
                 tar c lines | docker exec -i box tar x -C /tmp -O
                 docker export box | tar t tmp/tree/below/one
                 docker save busybox | docker load
                 docker run --rm busybox seq 100000 | tail -n 1
                 docker run --rm busybox sh -c 'echo out; echo err >&2' 2>/dev/null
                 docker rm -f box >/dev/null",
            );
            let expected = "tree/\ntree/below/\ntree/below/one\none\n2\nend\na\nb\ntmp/tree/below/one\n\
                            Loaded image: busybox:latest\n100000\nout\n";
            assert_eq!(said, expected);
        });
    });
}

#[test]
fn inspect_answers_templates() {
    with_daemon(|docker| {
        docker.import_busybox();
        docker.with_each_cli(|docker| {
            let said = sh(
                docker,
                "printf 'A=from the file\\n# not this\\nHOME\\n' >variables
                 HOME=/home/me docker run -d --name web --env-file variables -l tier=web -v data:/data:ro -p 127.0.0.1:0:80 --memory 64m busybox sleep 100 >/dev/null
                 docker inspect -f '{{range .Mounts}}{{.Type}} {{.Name}} {{.Destination}} {{.RW}}{{end}}' web
                 docker inspect -f '{{index .Config.Labels \"tier\"}} {{.HostConfig.Memory}} {{.State.ExitCode}}' web
                 docker inspect -f '{{range .Config.Env}}{{println .}}{{end}}' web | grep -E '^(A|HOME)='
                 address=$(docker inspect -f '{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}' web)
                 docker exec web sh -c 'ip -4 -o addr show dev eth0' | grep -c \" $address/\"
                 test 127.0.0.1:$(docker inspect -f '{{(index (index .NetworkSettings.Ports \"80/tcp\") 0).HostPort}}' web) = $(docker port web 80)
                 test $(docker inspect -f '{{.Image}}' web) = $(docker image inspect -f '{{.Id}}' busybox)
                 docker inspect --type volume -f '{{.Name}} {{.Driver}}' data
                 docker network inspect -f '{{range .Containers}}{{.Name}}{{end}}' bridge
                 docker inspect web | grep -c '\"Id\"'
                 docker inspect nobody 2>/dev/null || echo nobody
                 docker rm -f web >/dev/null; docker volume rm data",
            );
            let expected = "volume data /data false\nweb 67108864 0\nA=from the file\nHOME=/home/me\n1\ndata local\nweb\n1\n[]\nnobody\ndata\n";
            assert_eq!(said, expected);
        });
    });
}
