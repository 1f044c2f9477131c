%% SPDX-License-Identifier: Apache-2.0
%% The caller's side of a request, in the caller's own process: encode, find the connection, submit,
%% wait. Every wait has the caller's time limit, and leaves no message behind.
-module(gen_rpc_request).

-export([call/6, cast/5]).

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
            call_on(connection(Dest), Dest, Request, {in, RecvTimeout}, {in, SendTimeout}, ?ATTEMPTS)
    end.

call_on({ok, Port}, Dest, Request, Until, SendUntil, Attempts) ->
    case submit_call(Port, Request, Until, SendUntil) of
        Reply when is_binary(Reply) ->
            result(Reply);
        again ->
            call_on(none, Dest, Request, Until, SendUntil, Attempts);
        {unsent, _} -> {badrpc, nodedown};
        {lost, Reason} -> {badtcp, Reason};
        {too_big, Size, Limit} -> {badrpc, {message_too_big, Size, Limit}};
        send_timeout -> {badtcp, send_timeout};
        timeout -> {badrpc, timeout}
    end;
call_on(none, Dest, Request, Until0, SendUntil, Attempts) ->
    Until = fixed(Until0),
    call_on(connect(Dest, Until, Attempts), Dest, Request, Until, fixed(SendUntil), Attempts - 1);
call_on(Error, _Dest, _Request, _Until, _SendUntil, _Attempts) ->
    Error.

result(Reply) ->
    case gen_rpc_result:decode(Reply) of
        invalid -> {badtcp, invalid_reply};
        Outcome -> gen_rpc_result:to_rpc(Outcome)
    end.

-spec cast(gen_rpc:dest(), module(), atom(), [term()], timeout()) -> true.
cast(Dest, M, F, A, SendTimeout) ->
    case gen_rpc_dest:node(Dest) =:= node() of
        true ->
            ok = gen_rpc_worker:local_cast(M, F, A);
        false ->
            Request = gen_rpc_codec:encode(M, F, A),
            cast_on(connection(Dest), Dest, Request, {in, SendTimeout}, ?ATTEMPTS)
    end,
    true.

cast_on({ok, Port}, Dest, Request, Until, Attempts) ->
    case submit_cast(Port, Request, Until) of
        ok -> ok;
        again -> cast_on(none, Dest, Request, Until, Attempts);
        Reason -> dropped(Dest, Reason)
    end;
cast_on(none, Dest, Request, Until0, Attempts) ->
    Until = fixed(Until0),
    cast_on(connect(Dest, Until, Attempts), Dest, Request, Until, Attempts - 1);
cast_on({_badrpc_or_badtcp, Reason}, Dest, _Request, _Until, _Attempts) ->
    dropped(Dest, Reason).

dropped(Dest, Reason) ->
    gen_rpc_log:warning(#{what => "cast dropped", node => gen_rpc_dest:node(Dest),
                          reason => Reason}).

%%% Connection

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
                {error, {tls, _} = Reason} -> {badtcp, Reason};
                {error, _Reason} -> {badrpc, nodedown}
            end;
        {error, _Reason} ->
            %% Restarting, by its supervisor: that takes a moment.
            receive after ?RESTART_TIME -> connect(Dest, Until, Attempts - 1) end
    end.

%%% Submission. Reference and receive are in one function, so the compiler lets the receive skip
%%% what was in the mailbox before.

submit_call(Port, Request, Until0, SendUntil0) ->
    Ref = make_ref(),
    Id = erlang:unique_integer([positive]),
    case gen_rpc_port:call(Port, Id, left(Until0), term_to_binary(Ref), Request) of
        ok ->
            receive
                {Ref, Answer} -> Answer
            after left(Until0) ->
                abandon(Port, Id, Ref, timeout)
            end;
        busy ->
            Until = fixed(Until0),
            SendUntil = fixed(SendUntil0),
            receive
                {Ref, ready} -> submit_call(Port, Request, Until, SendUntil);
                {Ref, {unsent, _}} -> again
            after left(earlier(Until, SendUntil)) ->
                Late = case left(Until) of 0 -> timeout; _ -> send_timeout end,
                abandon(Port, Id, Ref, Late)
            end;
        {too_big, Limit} ->
            {too_big, iolist_size(Request), Limit};
        _ClosingOrDown ->
            again
    end.

submit_cast(Port, Request, Until) ->
    %% Without an id and a tag at first: they only serve to wait.
    case gen_rpc_port:cast(Port, 0, left(Until), <<>>, Request) of
        busy -> submit_cast_in_turn(Port, Request, fixed(Until));
        Result -> submitted_cast(Result, Request)
    end.

submit_cast_in_turn(Port, Request, Until) ->
    Ref = make_ref(),
    Id = erlang:unique_integer([positive]),
    case gen_rpc_port:cast(Port, Id, left(Until), term_to_binary(Ref), Request) of
        busy ->
            receive
                {Ref, ready} -> submit_cast_in_turn(Port, Request, Until);
                {Ref, {unsent, _}} -> again
            after left(Until) ->
                _ = abandon(Port, Id, Ref, send_timeout),
                send_timeout
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
fixed({in, Timeout}) -> erlang:monotonic_time(millisecond) + Timeout;
fixed(Until) -> Until.

-spec left(time()) -> timeout().
left({in, Timeout}) -> Timeout;
left(infinity) -> infinity;
left(Until) -> max(0, Until - erlang:monotonic_time(millisecond)).

%% In Erlang's term order an atom is greater than any number.
earlier(A, B) -> min(A, B).
