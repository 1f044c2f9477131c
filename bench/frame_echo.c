/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How many requests and replies of given sizes two processes exchange over loopback when nothing
 * else is done: each read is answered by one write with as many frames as the read completed.
 *   frame_echo REQUEST_BYTES REPLY_BYTES OUTSTANDING MILLISECONDS
 * prints requests per second.
 */
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define READ_ROOM ((size_t)64 * 1024)
#define FRAME_MIN 16
#define FRAME_MAX 512

typedef struct stream {
    int fd;
    size_t in_size;  /* bytes of a frame that comes in */
    size_t out_size; /* bytes of one that goes out */
    size_t partial;  /* bytes of a frame that has not come completely */
    uint8_t in[READ_ROOM];
    uint8_t out[READ_ROOM / FRAME_MIN * FRAME_MAX];
} stream;

static void die(const char *what)
{
    perror(what);
    exit(1);
}

static void write_frames(stream *s, size_t count)
{
    for (size_t done = 0; done < count * s->out_size;) {
        ssize_t n = write(s->fd, s->out + done, count * s->out_size - done);
        if (n <= 0)
            die("write");
        done += (size_t)n;
    }
}

/* Waits for frames, answers each; 0 when the other side has closed. */
static size_t turn(stream *s)
{
    ssize_t n = read(s->fd, s->in + s->partial, READ_ROOM - s->partial);
    if (n < 0)
        die("read");
    if (n == 0)
        return 0;
    size_t have = s->partial + (size_t)n;
    size_t count = have / s->in_size;
    for (size_t i = 0; i < count; i++)
        memcpy(s->out + i * s->out_size, s->in + i * s->in_size,
               s->in_size < s->out_size ? s->in_size : s->out_size);
    s->partial = have % s->in_size;
    memmove(s->in, s->in + count * s->in_size, s->partial);
    write_frames(s, count);
    return have;
}

static uint64_t now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

/* Two ends of one TCP connection over loopback. */
static void connect_pair(int ends[2])
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof a;
    int on = 1;
    int l = socket(AF_INET, SOCK_STREAM, 0);
    ends[0] = socket(AF_INET, SOCK_STREAM, 0);
    if (l < 0 || ends[0] < 0 || bind(l, (struct sockaddr *)&a, size) || listen(l, 1) ||
        getsockname(l, (struct sockaddr *)&a, &size) ||
        connect(ends[0], (struct sockaddr *)&a, size))
        die("connect");
    ends[1] = accept(l, NULL, NULL);
    if (ends[1] < 0)
        die("accept");
    close(l);
    for (int i = 0; i < 2; i++)
        setsockopt(ends[i], IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
}

int main(int argc, char **argv)
{
    static stream s;
    int ends[2];
    if (argc != 5)
        return 2;
    size_t request = strtoul(argv[1], NULL, 10);
    size_t reply = strtoul(argv[2], NULL, 10);
    size_t outstanding = strtoul(argv[3], NULL, 10);
    uint64_t ms = strtoul(argv[4], NULL, 10);
    /* What is under way must fit into the buffers of the sockets, or both would wait in write. */
    if (request < FRAME_MIN || request > FRAME_MAX || reply < FRAME_MIN || reply > FRAME_MAX ||
        outstanding < 1 || outstanding > 256)
        return 2;
    connect_pair(ends);
    pid_t server = fork();
    if (server < 0)
        die("fork");
    s.fd = ends[server == 0];
    close(ends[server != 0]);
    s.in_size = server ? reply : request;
    s.out_size = server ? request : reply;
    if (server == 0) {
        while (turn(&s))
            ;
        return 0;
    }
    uint64_t bytes = 0;
    uint64_t begin = now_ms();
    write_frames(&s, outstanding);
    while (now_ms() < begin + ms) {
        size_t before = s.partial;
        bytes += turn(&s) - before;
    }
    uint64_t took = now_ms() - begin;
    kill(server, SIGKILL);
    waitpid(server, NULL, 0);
    printf("%.1f\n", (double)bytes / (double)reply * 1000.0 / (double)took);
    return 0;
}
