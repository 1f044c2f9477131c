/* SPDX-License-Identifier: Apache-2.0 */
/* Socket calls with the options that every connection of ours has. */
#include "drv_sock.h"

#include <errno.h>
#include <limits.h>
#include <netinet/tcp.h>
#include <string.h>
#include <unistd.h>

#include "gr_wire.h"

static int set_int(int fd, int level, int name, int value)
{
    return setsockopt(fd, level, name, &value, sizeof value) < 0 ? -errno : 0;
}

static int get_int(int fd, int level, int name)
{
    int value = 0;
    socklen_t size = sizeof value;
    return getsockopt(fd, level, name, &value, &size) < 0 ? 0 : value;
}

static int close_with(int fd, int rc)
{
    close(fd);
    return rc;
}

static int set_size(int fd, int name, uint32_t size)
{
    return size ? set_int(fd, SOL_SOCKET, name, size > INT_MAX ? INT_MAX : (int)size) : 0;
}

/*
 * The sizes come before connect or listen, because the window scale that a connection begins with
 * follows from them. Whether an IPv6 socket speaks IPv4 is not left to a sysctl.
 */
static int open_socket(const drv_addr *addr, const drv_sockopts *o)
{
    int family = addr->sa.sa_family;
    int fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, IPPROTO_TCP);
    if (fd < 0)
        return -errno;
    int rc = family == AF_INET6 ? set_int(fd, IPPROTO_IPV6, IPV6_V6ONLY, o->v6only) : 0;
    if (rc == 0)
        rc = set_size(fd, SO_SNDBUF, o->sndbuf);
    if (rc == 0)
        rc = set_size(fd, SO_RCVBUF, o->recbuf);
    return rc == 0 ? fd : close_with(fd, rc);
}

int drv_sock_connect(const drv_addr *addr, socklen_t size, const drv_sockopts *o)
{
    int fd = open_socket(addr, o);
    if (fd < 0)
        return fd;
    if (connect(fd, &addr->sa, size) < 0 && errno != EINPROGRESS && errno != EINTR)
        return close_with(fd, -errno);
    return fd;
}

int drv_sock_connected(int fd)
{
    int error = 0;
    socklen_t size = sizeof error;
    if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) < 0)
        return -errno;
    return -error;
}

int drv_sock_listen(const drv_addr *addr, socklen_t size, const drv_sockopts *o)
{
    int fd = open_socket(addr, o);
    if (fd < 0)
        return fd;
    int rc = set_int(fd, SOL_SOCKET, SO_REUSEADDR, 1);
    if (rc == 0 && bind(fd, &addr->sa, size) < 0)
        rc = -errno;
    if (rc == 0 && listen(fd, INT_MAX) < 0) /* the kernel cuts it to its own limit */
        rc = -errno;
    return rc == 0 ? fd : close_with(fd, rc);
}

int drv_sock_accept(int fd, drv_addr *peer)
{
    socklen_t size = sizeof *peer;
    memset(peer, 0, sizeof *peer);
    int child = accept4(fd, &peer->sa, &size, SOCK_NONBLOCK | SOCK_CLOEXEC);
    return child < 0 ? -errno : child;
}

/*
 * Bytes that the kernel takes beyond what it can send: they are in front of all that comes later, and
 * more would not make it faster.
 */
#define UNSENT_MAX (256 * 1024)

int drv_sock_tune(int fd, const drv_keepalive *k)
{
    int rc[] = {
        set_int(fd, IPPROTO_TCP, TCP_NODELAY, 1),
        set_int(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, UNSENT_MAX),
        set_int(fd, SOL_SOCKET, SO_KEEPALIVE, 1),
        set_int(fd, IPPROTO_TCP, TCP_KEEPIDLE, (int)k->idle),
        set_int(fd, IPPROTO_TCP, TCP_KEEPINTVL, (int)k->interval),
        set_int(fd, IPPROTO_TCP, TCP_KEEPCNT, (int)k->count),
    };
    for (size_t i = 0; i < sizeof rc / sizeof rc[0]; i++)
        if (rc[i] < 0)
            return rc[i];
    return 0;
}

void drv_sock_keepalive(int fd, drv_keepalive *k)
{
    memset(k, 0, sizeof *k);
    if (!get_int(fd, SOL_SOCKET, SO_KEEPALIVE))
        return;
    k->idle = (uint32_t)get_int(fd, IPPROTO_TCP, TCP_KEEPIDLE);
    k->interval = (uint32_t)get_int(fd, IPPROTO_TCP, TCP_KEEPINTVL);
    k->count = (uint32_t)get_int(fd, IPPROTO_TCP, TCP_KEEPCNT);
}

void drv_sock_sizes(int fd, uint32_t *sndbuf, uint32_t *recbuf)
{
    *sndbuf = (uint32_t)get_int(fd, SOL_SOCKET, SO_SNDBUF);
    *recbuf = (uint32_t)get_int(fd, SOL_SOCKET, SO_RCVBUF);
}

uint16_t drv_sock_port(int fd)
{
    drv_addr a;
    socklen_t size = sizeof a;
    memset(&a, 0, sizeof a);
    if (getsockname(fd, &a.sa, &size) < 0)
        return 0;
    return ntohs(a.sa.sa_family == AF_INET6 ? a.in6.sin6_port : a.in4.sin_port);
}

static size_t format(uint8_t family, in_port_t port, const void *ip, size_t size, uint8_t out[19])
{
    out[0] = family;
    gr_put16(out + 1, ntohs(port));
    memcpy(out + 3, ip, size);
    return 3 + size;
}

size_t drv_sock_format(const drv_addr *addr, uint8_t out[19])
{
    if (addr->sa.sa_family != AF_INET6)
        return format(4, addr->in4.sin_port, &addr->in4.sin_addr, 4, out);
    const struct in6_addr *ip = &addr->in6.sin6_addr;
    if (IN6_IS_ADDR_V4MAPPED(ip))
        return format(4, addr->in6.sin6_port, ip->s6_addr + 12, 4, out);
    return format(6, addr->in6.sin6_port, ip, 16, out);
}
