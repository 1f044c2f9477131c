/* SPDX-License-Identifier: Apache-2.0 */
/* Building and sending the driver's messages. The shapes are those of gen_rpc_port.erl. */
#include "drv_term.h"

#include <errno.h>

static const char *const atom_names[DRV_ATOM_COUNT] = {
    [DRV_ATOM_UP] = "up",
    [DRV_ATOM_DOWN] = "down",
    [DRV_ATOM_REQUESTS] = "requests",
    [DRV_ATOM_FLUSH] = "flush",
    [DRV_ATOM_IDLE] = "idle",
    [DRV_ATOM_BYE] = "bye",
    [DRV_ATOM_NORMAL] = "normal",
    [DRV_ATOM_ACCEPTED] = "accepted",
    [DRV_ATOM_REFUSED] = "refused",
    [DRV_ATOM_ACCEPT_ERROR] = "accept_error",
    [DRV_ATOM_READY] = "ready",
    [DRV_ATOM_LOST] = "lost",
    [DRV_ATOM_UNSENT] = "unsent",
    [DRV_ATOM_TOO_BIG] = "too_big",
    [DRV_ATOM_CLOSING] = "closing",
    [DRV_ATOM_CONNECT_TIMEOUT] = "connect_timeout",
    [DRV_ATOM_TLS] = "tls",
    [DRV_ATOM_ALERT] = "alert",
    [DRV_ATOM_CANCEL] = "cancel",
    [DRV_ATOM_ORDERED] = "ordered",
    [DRV_ATOM_BROADCAST] = "broadcast",
};

/* The fatal codes of the core lie in three ranges: from the first one down to the last one. */
#define FATAL_COUNT (GR_FATAL - GR_EREFUSED + 1)
#define TLS_COUNT (GR_ETLS - GR_ETLS_HANDSHAKE + 1)
#define ALERT_COUNT (GR_ETLS_ALERT - GR_ETLS_ALERT_MAX + 1)

/* The errors that sockets report; any other one becomes "socket_error". */
static const int known_errno[] = {
    ECONNREFUSED, ECONNRESET, ECONNABORTED, ETIMEDOUT,     EHOSTUNREACH, ENETUNREACH, EHOSTDOWN,
    ENETDOWN,     EPIPE,      EADDRINUSE,   EADDRNOTAVAIL, EACCES,       EPERM,       EMFILE,
    ENFILE,       ENOBUFS,    ENOMEM,       EINVAL,        EAFNOSUPPORT, ENETRESET,   ENOTCONN,
};

#define ERRNO_COUNT (sizeof known_errno / sizeof known_errno[0])

static ErlDrvTermData atoms[DRV_ATOM_COUNT];
static ErlDrvTermData fatal_atoms[FATAL_COUNT];
static ErlDrvTermData tls_atoms[TLS_COUNT];
static ErlDrvTermData alert_atoms[ALERT_COUNT];
static ErlDrvTermData errno_atoms[ERRNO_COUNT];
static ErlDrvTermData socket_error;

static ErlDrvTermData make_atom(const char *name)
{
    return driver_mk_atom((char *)(uintptr_t)name);
}

void drv_term_init(void)
{
    for (int i = 0; i < DRV_ATOM_COUNT; i++)
        atoms[i] = make_atom(atom_names[i]);
    for (int i = 0; i < FATAL_COUNT; i++)
        fatal_atoms[i] = make_atom(gr_error_name(GR_FATAL - i));
    for (int i = 0; i < TLS_COUNT; i++)
        tls_atoms[i] = make_atom(gr_error_name(GR_ETLS - i));
    for (int i = 0; i < ALERT_COUNT; i++)
        alert_atoms[i] = make_atom(gr_error_name(GR_ETLS_ALERT - i));
    for (size_t i = 0; i < ERRNO_COUNT; i++)
        errno_atoms[i] = make_atom(erl_errno_id(known_errno[i]));
    socket_error = make_atom("socket_error");
}

ErlDrvTermData drv_atom_errno(int error)
{
    for (size_t i = 0; i < ERRNO_COUNT; i++)
        if (known_errno[i] == error)
            return errno_atoms[i];
    return socket_error;
}

drv_reason drv_reason_error(int rc)
{
    drv_reason r = {atoms[DRV_ATOM_CLOSING], GR_IS_TLS(rc), GR_IS_ALERT(rc)};
    if (r.alert)
        r.atom = alert_atoms[GR_ETLS_ALERT - rc];
    else if (r.tls)
        r.atom = tls_atoms[GR_ETLS - rc];
    else if (GR_IS_FATAL(rc))
        r.atom = fatal_atoms[GR_FATAL - rc];
    return r;
}

drv_reason drv_reason_errno(int error)
{
    drv_reason r = {drv_atom_errno(error), 0, 0};
    return r;
}

drv_reason drv_reason_atom(drv_atom a)
{
    drv_reason r = {atoms[a], 0, 0};
    return r;
}

/* Words of a reason at most. */
#define REASON_WORDS 10

static size_t put_reason(ErlDrvTermData *spec, drv_reason r)
{
    size_t n = 0;
    if (r.tls) {
        spec[n++] = ERL_DRV_ATOM;
        spec[n++] = atoms[DRV_ATOM_TLS];
    }
    if (r.alert) {
        spec[n++] = ERL_DRV_ATOM;
        spec[n++] = atoms[DRV_ATOM_ALERT];
    }
    spec[n++] = ERL_DRV_ATOM;
    spec[n++] = r.atom;
    for (int i = 0; i < r.tls + r.alert; i++) {
        spec[n++] = ERL_DRV_TUPLE;
        spec[n++] = 2;
    }
    return n;
}

/* A term's elements stand in lines that show its shape. */
/* clang-format off */

#define TELL(Port, Spec) \
    (void)erl_drv_output_term((Port), (Spec), (int)(sizeof(Spec) / sizeof((Spec)[0])))

#define ANSWER(Port, Call, Spec) \
    (void)erl_drv_send_term((Port), (Call)->caller, (Spec), (int)(sizeof(Spec) / sizeof((Spec)[0])))

#define TAG(Call) ERL_DRV_EXT2TERM, (ErlDrvTermData)(Call)->tag, (Call)->tag_size

void drv_tell(ErlDrvTermData port, drv_atom what)
{
    ErlDrvTermData spec[] = {
        ERL_DRV_PORT, port,
        ERL_DRV_ATOM, atoms[what],
        ERL_DRV_TUPLE, 2,
    };
    TELL(port, spec);
}

void drv_tell_atom(ErlDrvTermData port, drv_atom what, ErlDrvTermData arg)
{
    ErlDrvTermData spec[] = {
        ERL_DRV_PORT, port,
        ERL_DRV_ATOM, atoms[what],
        ERL_DRV_ATOM, arg,
        ERL_DRV_TUPLE, 3,
    };
    TELL(port, spec);
}

void drv_tell_down(ErlDrvTermData port, drv_reason reason)
{
    ErlDrvTermData spec[4 + REASON_WORDS + 2] = {
        ERL_DRV_PORT, port,
        ERL_DRV_ATOM, atoms[DRV_ATOM_DOWN],
    };
    size_t n = 4 + put_reason(spec + 4, reason);
    spec[n++] = ERL_DRV_TUPLE;
    spec[n++] = 3;
    (void)erl_drv_output_term(port, spec, (int)n);
}

void drv_tell_count(ErlDrvTermData port, drv_atom what, uint64_t n)
{
    ErlDrvTermData spec[] = {
        ERL_DRV_PORT, port,
        ERL_DRV_ATOM, atoms[what],
        ERL_DRV_UINT, n,
        ERL_DRV_TUPLE, 3,
    };
    TELL(port, spec);
}

void drv_tell_up(ErlDrvTermData port, const gr_peer *peer)
{
    ErlDrvTermData spec[] = {
        ERL_DRV_PORT, port,
        ERL_DRV_ATOM, atoms[DRV_ATOM_UP],
        ERL_DRV_BUF2BINARY, (ErlDrvTermData)peer->name, peer->name_size,
        ERL_DRV_UINT64, (ErlDrvTermData)&peer->max_message,
        ERL_DRV_TUPLE, 4,
    };
    TELL(port, spec);
}

void drv_tell_accepted(ErlDrvTermData port, ErlDrvTermData child, const uint8_t *addr, size_t size)
{
    ErlDrvTermData spec[] = {
        ERL_DRV_PORT, port,
        ERL_DRV_ATOM, atoms[DRV_ATOM_ACCEPTED],
        ERL_DRV_PORT, child,
        ERL_DRV_BUF2BINARY, (ErlDrvTermData)addr, size,
        ERL_DRV_TUPLE, 4,
    };
    TELL(port, spec);
}

/* clang-format on */

/* Words of the term of one request, and of what is around them all. */
#define REQUEST_WORDS 10
#define AROUND_WORDS 9

void drv_tell_requests(ErlDrvTermData port, drv_request *batch, size_t count)
{
    ErlDrvTermData spec[DRV_BATCH_MAX * REQUEST_WORDS + AROUND_WORDS];
    size_t n = 0;
    spec[n++] = ERL_DRV_PORT;
    spec[n++] = port;
    spec[n++] = ERL_DRV_ATOM;
    spec[n++] = atoms[DRV_ATOM_REQUESTS];
    for (size_t i = 0; i < count; i++) {
        spec[n++] = ERL_DRV_UINT64;
        spec[n++] = (ErlDrvTermData)&batch[i].id;
        spec[n++] = batch[i].bin ? ERL_DRV_BINARY : ERL_DRV_BUF2BINARY;
        spec[n++] = batch[i].bin ? (ErlDrvTermData)batch[i].bin : (ErlDrvTermData)batch[i].data;
        spec[n++] = batch[i].size;
        if (batch[i].bin)
            spec[n++] = 0;
        if (batch[i].order != GR_UNORDERED) {
            spec[n++] = ERL_DRV_ATOM;
            spec[n++] = atoms[batch[i].order == GR_ORDERED ? DRV_ATOM_ORDERED : DRV_ATOM_BROADCAST];
        }
        spec[n++] = ERL_DRV_TUPLE;
        spec[n++] = batch[i].order == GR_UNORDERED ? 2 : 3;
    }
    spec[n++] = ERL_DRV_NIL;
    spec[n++] = ERL_DRV_LIST;
    spec[n++] = count + 1;
    spec[n++] = ERL_DRV_TUPLE;
    spec[n++] = 3;
    (void)erl_drv_output_term(port, spec, (int)n);
    for (size_t i = 0; i < count; i++)
        if (batch[i].bin)
            driver_free_binary(batch[i].bin);
}

/* clang-format off */

void drv_tell_cancel(ErlDrvTermData port, uint64_t id)
{
    ErlDrvTermData spec[] = {
        ERL_DRV_PORT, port,
        ERL_DRV_ATOM, atoms[DRV_ATOM_CANCEL],
        ERL_DRV_UINT64, (ErlDrvTermData)&id,
        ERL_DRV_TUPLE, 3,
    };
    TELL(port, spec);
}

void drv_answer_body(ErlDrvTermData port, const gr_call *c, const gr_event *ev)
{
    if (ev->blob.owner) {
        ErlDrvTermData spec[] = {
            TAG(c),
            ERL_DRV_BINARY, (ErlDrvTermData)ev->blob.owner, ev->size, 0,
            ERL_DRV_TUPLE, 2,
        };
        ANSWER(port, c, spec);
    } else {
        ErlDrvTermData spec[] = {
            TAG(c),
            ERL_DRV_BUF2BINARY, (ErlDrvTermData)ev->data, ev->size,
            ERL_DRV_TUPLE, 2,
        };
        ANSWER(port, c, spec);
    }
}

void drv_answer_ready(ErlDrvTermData port, const gr_call *c)
{
    ErlDrvTermData spec[] = {
        TAG(c),
        ERL_DRV_ATOM, atoms[DRV_ATOM_READY],
        ERL_DRV_TUPLE, 2,
    };
    ANSWER(port, c, spec);
}

void drv_answer_error(ErlDrvTermData port, const gr_call *c, drv_atom kind, drv_reason reason)
{
    ErlDrvTermData spec[5 + REASON_WORDS + 4] = {
        TAG(c),
        ERL_DRV_ATOM, atoms[kind],
    };
    size_t n = 5 + put_reason(spec + 5, reason);
    for (int i = 0; i < 2; i++) {
        spec[n++] = ERL_DRV_TUPLE;
        spec[n++] = 2;
    }
    (void)erl_drv_send_term(port, c->caller, spec, (int)n);
}

void drv_answer_too_big(ErlDrvTermData port, const gr_call *c, uint64_t size, uint64_t limit)
{
    ErlDrvTermData spec[] = {
        TAG(c),
        ERL_DRV_ATOM, atoms[DRV_ATOM_TOO_BIG],
        ERL_DRV_UINT64, (ErlDrvTermData)&size,
        ERL_DRV_UINT64, (ErlDrvTermData)&limit,
        ERL_DRV_TUPLE, 3,
        ERL_DRV_TUPLE, 2,
    };
    ANSWER(port, c, spec);
}

/* clang-format on */
