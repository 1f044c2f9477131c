%% SPDX-License-Identifier: Apache-2.0
%% The caller's side of a request, in the caller's own process: encode, find the connection, submit,
%% wait. Every wait has the caller's time limit, and leaves no message behind.
-module(gen_rpc_request).

-export([call/6, cast/5, ordered_cast/5]).
-export([connection/1, broadcast_at_once/2, broadcast/4, ask/4]).

%% Connections tried for one request. Another one is only needed when the first closes at that very
%% moment, and nothing has been sent then.
-define(ATTEMPTS, 5).

%% How long an answer can be under way from a port that is closing, ms.
-define(CLOSING_GRACE, 5000).

%% How long until the dispatcher is asked again when it was not there, ms.
-define(RESTART_TIME, 10).

%% A limit on time that has not run yet is the time itself, because reading the clock costs as much
%% as submitting a small message. Whatever waits fixes it first, except for the last wait of all.
-type time() :: {in, timeout()} | integer() | infinity. % ms; fixed: monotonic

-type connection() :: {ok, port()} | none.

-spec call(gen_rpc:dest(), module(), atom(), [term()], timeout(), timeout()) ->
          term() | {badrpc, term()} | {badtcp, term()}.
call(Dest, M, F, A, RecvTimeout, SendTimeout) ->
    case gen_rpc_dest:node(Dest) =:= node() of
        true ->
            case gen_rpc_worker:local_call(M, F, A, RecvTimeout) of
                timeout -> {badrpc, timeout};
                Outcome -> gen_rpc_result:to_rpc(Outcome)
            end;
        false ->
            Request = gen_rpc_codec:encode(M, F, A),
            call_on(connection(Dest), call, Dest, Request, {in, RecvTimeout}, {in, SendTimeout},
                    ?ATTEMPTS)
    end.

%% A broadcast that is answered: whether its name is registered there.
-spec ask(connection(), gen_rpc:dest(), [binary()], timeout()) ->
          boolean() | {badrpc, term()} | {badtcp, term()}.
ask(Connection, Dest, Body, Timeout) ->
    call_on(Connection, ask, Dest, Body, {in, Timeout}, infinity, ?ATTEMPTS).

call_on({ok, Port}, Kind, Dest, Request, Until, SendUntil, Attempts) ->
    case submit_call(Kind, Port, Request, Until, SendUntil, first) of
        Reply when is_binary(Reply) ->
            result(Reply);
        again ->
            call_on(none, Kind, Dest, Request, Until, SendUntil, Attempts);
        {unsent, _} -> {badrpc, nodedown};
        {lost, Reason} -> {badtcp, Reason};
        {too_big, Size, Limit} -> {badrpc, {message_too_big, Size, Limit}};
        send_timeout -> {badtcp, send_timeout};
        timeout -> {badrpc, timeout}
    end;
call_on(none, Kind, Dest, Request, Until0, SendUntil, Attempts) ->
    Until = fixed(Until0),
    call_on(connect(Dest, Until, Attempts), Kind, Dest, Request, Until, fixed(SendUntil),
            Attempts - 1);
call_on(Error, _Kind, _Dest, _Request, _Until, _SendUntil, _Attempts) ->
    Error.

result(Reply) ->
    case gen_rpc_result:decode(Reply) of
        invalid -> {badtcp, invalid_reply};
        Outcome -> gen_rpc_result:to_rpc(Outcome)
    end.

%% Raises `overload' if the connection is busy and the policy says so.
-spec cast(gen_rpc:dest(), module(), atom(), [term()], timeout()) -> true.
cast(Dest, M, F, A, SendTimeout) ->
    case gen_rpc_dest:node(Dest) =:= node() of
        true ->
            ok = gen_rpc_worker:local_cast(M, F, A),
            true;
        false ->
            Request = gen_rpc_codec:encode(M, F, A),
            was_cast(cast_on(connection(Dest), cast, Dest, Request, {in, SendTimeout}, ?ATTEMPTS))
    end.

%% Likewise.
-spec ordered_cast(gen_rpc:dest(), module(), atom(), [term()], timeout()) -> true.
ordered_cast(Dest, M, F, A, SendTimeout) ->
    case gen_rpc_dest:node(Dest) =:= node() of
        true ->
            was_cast(cast_locally(Dest, {M, F, A}, {in, SendTimeout}, first));
        false ->
            Request = gen_rpc_codec:encode(M, F, A),
            was_cast(cast_on(connection(Dest), ordered, Dest, Request, {in, SendTimeout},
                             ?ATTEMPTS))
    end.

was_cast(ok) -> true;
was_cast(refused) -> error(overload).

%% Only if that makes nobody wait. `later': it would; broadcast/4 goes on from there.
-spec broadcast_at_once(gen_rpc:dest(), [binary()]) -> ok | refused | {later, connection()}.
broadcast_at_once(Dest, Body) ->
    Connection = connection(Dest),
    case at_once(Connection, Body) of
        ok -> ok;
        block -> {later, Connection};
        again -> {later, none};
        Reason -> not_cast(broadcast, Dest, Reason)
    end.

at_once({ok, Port}, Body) -> submit_cast_at_once(broadcast, Port, Body, infinity);
at_once(none, _Body) -> again.

-spec broadcast(connection(), gen_rpc:dest(), [binary()], timeout()) -> ok | refused.
broadcast(Connection, Dest, Body, SendTimeout) ->
    cast_on(Connection, broadcast, Dest, Body, {in, SendTimeout}, ?ATTEMPTS).

cast_on({ok, Port}, Kind, Dest, Request, Until, Attempts) ->
    case submit_cast(Kind, Port, Request, Until) of
        ok -> ok;
        again -> cast_on(none, Kind, Dest, Request, Until, Attempts);
        Reason -> not_cast(Kind, Dest, Reason)
    end;
cast_on(none, Kind, Dest, Request, Until0, Attempts) ->
    Until = fixed(Until0),
    cast_on(connect(Dest, Until, Attempts), Kind, Dest, Request, Until, Attempts - 1);
cast_on({_badrpc_or_badtcp, Reason}, Kind, Dest, _Request, _Until, _Attempts) ->
    not_cast(Kind, Dest, Reason).

%% To the own node, with the same policy and the same time limit.
cast_locally(Dest, Request, Until0, Turn) ->
    case gen_rpc_local:ordered_cast(Dest, Request) of
        ok ->
            ok;
        busy ->
            case overload_policy() of
                block ->
                    Until = fixed(Until0),
                    Since = now_ms(),
                    Room = gen_rpc_local:await_room(Dest, left(Until)),
                    ok = gen_rpc_counters:blocked(casts, Turn, Since),
                    case Room of
                        timeout -> not_cast(ordered, Dest, send_timeout);
                        _ -> cast_locally(Dest, Request, Until, again)
                    end;
                Refused ->
                    not_cast(ordered, Dest, Refused)
            end;
        down ->
            _ = connection(Dest),
            not_cast(ordered, Dest, restarting)
    end.

not_cast(_Kind, _Dest, error) ->
    ok = gen_rpc_counters:add(casts_refused, 1),
    refused;
not_cast(Kind, Dest, drop) ->
    dropped(Kind, Dest, overload, casts_dropped);
not_cast(Kind, Dest, send_timeout) ->
    dropped(Kind, Dest, send_timeout, casts_dropped);
not_cast(Kind, Dest, Reason) ->
    dropped(Kind, Dest, Reason, casts_failed).

dropped(Kind, Dest, Reason, Counter) ->
    ok = gen_rpc_counters:add(Counter, 1),
    gen_rpc_log:message(#{what => name(Kind) ++ " dropped", node => gen_rpc_dest:node(Dest),
                          reason => gen_rpc_log:shown(Reason)}).

name(cast) -> "cast";
name(ordered) -> "ordered cast";
name(broadcast) -> "broadcast".

-spec overload_policy() -> block | drop | error.
overload_policy() ->
    gen_rpc_config:get(cast_overload_policy).

%%% Connection

%% Raises if the application does not run.
-spec connection(gen_rpc:dest()) -> connection().
connection(Dest) ->
    case gen_rpc_registry:lookup(Dest) of
        {ok, _Port} = Found -> Found;
        none -> none;
        not_started -> error({not_started, gen_rpc})
    end.

%% By way of the client, which has heard of the end of its connection before it hears of us. So
%% this never returns a port that has refused us already, as the registry may for a moment.
connect(_Dest, _Until, 0) ->
    {badrpc, nodedown};
connect(Dest, Until, Attempts) ->
    case gen_rpc_dispatcher:client(Dest) of
        {ok, Client} ->
            case gen_rpc_client:await(Client, left(Until)) of
                {ok, _Port} = Found -> Found;
                gone -> connect(Dest, Until, Attempts - 1);
                timeout -> {badrpc, timeout};
                {error, invalid_cookie} -> {badrpc, invalid_cookie};
                {error, {external_source_error, _} = Reason} -> {badrpc, Reason};
                {error, {tls, _} = Reason} -> {badtcp, Reason};
                {error, _Reason} -> {badrpc, nodedown}
            end;
        {error, _Reason} ->
            %% Restarting, by its supervisor: that takes a moment.
            receive after ?RESTART_TIME -> connect(Dest, Until, Attempts - 1) end
    end.

%%% Submission. Reference and receive are in one function, so the compiler lets the receive skip
%%% what was in the mailbox before.

submit(call, Port, Id, Timeout, Tag, Body) -> gen_rpc_port:call(Port, Id, Timeout, Tag, Body);
submit(cast, Port, Id, Timeout, Tag, Body) -> gen_rpc_port:cast(Port, Id, Timeout, Tag, Body);
submit(ordered, Port, Id, Timeout, Tag, Body) -> gen_rpc_port:ordered(Port, Id, Timeout, Tag, Body);
submit(broadcast, Port, Id, Timeout, Tag, Body) ->
    gen_rpc_port:broadcast(Port, Id, Timeout, Tag, Body);
submit(ask, Port, Id, Timeout, Tag, Body) -> gen_rpc_port:ask(Port, Id, Timeout, Tag, Body).

submit_call(Kind, Port, Request, Until0, SendUntil0, Turn) ->
    Ref = make_ref(),
    Id = erlang:unique_integer([positive]),
    case submit(Kind, Port, Id, left(Until0), term_to_binary(Ref), Request) of
        ok ->
            receive
                {Ref, Answer} -> Answer
            after left(Until0) ->
                cancelled(abandon(Port, Id, Ref, timeout))
            end;
        busy ->
            Since = now_ms(),
            Until = fixed(Until0),
            SendUntil = fixed(SendUntil0),
            Room = receive
                       {Ref, ready} -> ready;
                       {Ref, {unsent, _}} -> again
                   after left(earlier(Until, SendUntil)) ->
                       Late = case left(Until) of 0 -> timeout; _ -> send_timeout end,
                       abandon(Port, Id, Ref, Late)
                   end,
            ok = gen_rpc_counters:blocked(calls, Turn, Since),
            case Room of
                ready -> submit_call(Kind, Port, Request, Until, SendUntil, again);
                _ -> no_room(Room)
            end;
        {too_big, Limit} ->
            {too_big, iolist_size(Request), Limit};
        _ClosingOrDown ->
            again
    end.

cancelled(timeout) ->
    ok = gen_rpc_counters:add(calls_cancelled, 1),
    timeout;
cancelled(Answer) ->
    Answer.

no_room(send_timeout) ->
    ok = gen_rpc_counters:add(calls_send_timeout, 1),
    send_timeout;
no_room(Other) ->
    Other.

submit_cast(Kind, Port, Request, Until) ->
    case submit_cast_at_once(Kind, Port, Request, left(Until)) of
        block -> submit_cast_in_turn(Kind, Port, Request, fixed(Until), first);
        Result -> Result
    end.

%% Without an id and a tag: they only serve to wait. If it is busy, what the policy says.
submit_cast_at_once(Kind, Port, Request, Timeout) ->
    case submit(Kind, Port, 0, Timeout, <<>>, Request) of
        busy -> overload_policy();
        Result -> submitted_cast(Result, Request)
    end.

submit_cast_in_turn(Kind, Port, Request, Until, Turn) ->
    Ref = make_ref(),
    Id = erlang:unique_integer([positive]),
    case submit(Kind, Port, Id, left(Until), term_to_binary(Ref), Request) of
        busy ->
            Since = now_ms(),
            Room = receive
                       {Ref, ready} -> ready;
                       {Ref, {unsent, _}} -> again
                   after left(Until) ->
                       _ = abandon(Port, Id, Ref, send_timeout),
                       send_timeout
                   end,
            ok = gen_rpc_counters:blocked(casts, Turn, Since),
            case Room of
                ready -> submit_cast_in_turn(Kind, Port, Request, Until, again);
                _ -> Room
            end;
        Result ->
            submitted_cast(Result, Request)
    end.

submitted_cast(ok, _Request) -> ok;
submitted_cast({too_big, Limit}, Request) -> {message_too_big, iolist_size(Request), Limit};
submitted_cast(_ClosingOrDown, _Request) -> again.

%% Gives up waiting. An answer that came in the meantime counts, and none stays in the mailbox.
abandon(Port, Id, Ref, Late) ->
    Grace = case gen_rpc_port:cancel(Port, Id) of
                closed -> ?CLOSING_GRACE;
                _ -> 0
            end,
    receive
        {Ref, ready} -> Late;
        {Ref, Answer} -> Answer
    after Grace ->
        Late
    end.

%%% Time

-spec fixed(time()) -> integer() | infinity.
fixed({in, infinity}) -> infinity;
fixed({in, Timeout}) -> now_ms() + Timeout;
fixed(Until) -> Until.

-spec left(time()) -> timeout().
left({in, Timeout}) -> Timeout;
left(infinity) -> infinity;
left(Until) -> max(0, Until - now_ms()).

now_ms() -> erlang:monotonic_time(millisecond).

%% In Erlang's term order an atom is greater than any number.
earlier(A, B) -> min(A, B).
