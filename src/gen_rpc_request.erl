%% SPDX-License-Identifier: Apache-2.0
%% @hidden
%% The caller's side of a request, in the caller's own process: encode, find the connection, submit,
%% wait. Every wait has the caller's time limit, and leaves no message behind.
-module(gen_rpc_request).

-export([encode/1, call/4, cast/4, logged/1]).
-export([connection/1, cast_at_once/3, cast_later/5, ask/4]).
-export([start/5, submit_for/6, outcome/1, abandon/3]).
-export([fixed/1, left/1]).

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

-type connection() :: {ok, port()} | none | gen_rpc_result:failed().

-type encoded() :: {[gen_rpc_code:version()], [binary()]}.

-type answer() :: binary() | {unsent | lost, term()} | {too_big, pos_integer(), pos_integer()}
                | timeout | send_timeout
                | {outcome, gen_rpc_result:outcome()}. % not from the driver

-type not_sent() :: {not_sent, cast | ordered | broadcast, gen_rpc:dest(),
                     overload                          % the policy is to raise it
                     | {badrpc | badtcp, term()}}.
-export_type([connection/0, encoded/0, answer/0, not_sent/0, time/0]).

%% A call, and what became of it.
-spec call(gen_rpc:dest(), gen_rpc_codec:call(), timeout(), timeout()) -> gen_rpc_result:outcome().
call(Dest, Call, RecvTimeout, SendTimeout) ->
    case gen_rpc_dest:is_own(Dest) of
        true ->
            gen_rpc_worker:local_call(Call, RecvTimeout);
        false ->
            call_on(connection(Dest), call, Dest, encode(Call), {in, RecvTimeout},
                    {in, SendTimeout}, ?ATTEMPTS)
    end.

%% A broadcast that is answered: whether its name is registered there.
-spec ask(connection(), gen_rpc:dest(), [binary()], timeout()) -> gen_rpc_result:outcome().
ask(Connection, Dest, Body, Timeout) ->
    call_on(Connection, ask, Dest, {[], Body}, {in, Timeout}, infinity, ?ATTEMPTS).

call_on({ok, Port}, Kind, Dest, {Code, Body} = Request, Until0, SendUntil, Attempts) ->
    Until = ship(Port, Code, Until0),
    case submit_call(Kind, Port, Body, Until, SendUntil, first) of
        again -> call_on(none, Kind, Dest, Request, Until, SendUntil, Attempts);
        Answer -> outcome(Answer)
    end;
call_on(none, Kind, Dest, Request, Until0, SendUntil, Attempts) ->
    Until = fixed(Until0),
    call_on(connect(Dest, Until, Attempts), Kind, Dest, Request, Until, fixed(SendUntil),
            Attempts - 1);
call_on({failed, _, _} = Failed, _Kind, _Dest, _Request, _Until, _SendUntil, _Attempts) ->
    Failed.

%% What an answer of the driver says, or what became of waiting for one.
-spec outcome(answer()) -> gen_rpc_result:outcome().
outcome(Reply) when is_binary(Reply) ->
    case gen_rpc_result:decode(Reply) of
        invalid -> {failed, badtcp, invalid_reply};
        Outcome -> Outcome
    end;
outcome({unsent, _}) -> {failed, badrpc, nodedown};
outcome({lost, Reason}) -> {failed, badtcp, Reason};
outcome({too_big, Size, Limit}) -> {failed, badrpc, {message_too_big, Size, Limit}};
outcome({outcome, Outcome}) -> Outcome;
outcome(send_timeout) -> {failed, badtcp, send_timeout};
outcome(timeout) -> {failed, badrpc, timeout}.

%% A cast of this kind. A failure that is not returned to somebody who looks at it is to be logged/1.
-spec cast(cast | ordered, gen_rpc:dest(), gen_rpc_codec:call(), timeout()) -> ok | not_sent().
cast(Kind, Dest, Call, SendTimeout) ->
    case gen_rpc_dest:is_own(Dest) of
        true ->
            cast_here(Kind, Dest, Call, SendTimeout);
        false ->
            cast_on(connection(Dest), Kind, Dest, encode(Call), {in, SendTimeout}, ?ATTEMPTS)
    end.

cast_here(cast, _Dest, Call, _SendTimeout) -> gen_rpc_worker:local_cast(Call);
cast_here(ordered, Dest, Call, SendTimeout) -> cast_in_order(Dest, Call, {in, SendTimeout}, first).

%% Submits what is encoded, if that makes nobody wait. `later': it would; cast_later/5 goes on from
%% there.
-spec cast_at_once(cast | broadcast, gen_rpc:dest(), encoded()) ->
          ok | not_sent() | {later, connection()}.
cast_at_once(Kind, Dest, Request) ->
    Connection = connection(Dest),
    case at_once(Connection, Kind, Request) of
        block -> {later, Connection};
        again -> {later, none};
        Result -> sent(Kind, Dest, Result)
    end.

at_once({ok, Port}, Kind, {Code, Body}) ->
    case gen_rpc_code:is_known(Port, Code) of
        true -> submit_cast_at_once(Kind, Port, Body, infinity);
        false -> block
    end;
at_once(none, _Kind, _Request) ->
    again;
at_once({failed, _, _} = Failed, _Kind, _Request) ->
    Failed.

-spec cast_later(connection(), cast | broadcast, gen_rpc:dest(), encoded(), timeout()) ->
          ok | not_sent().
cast_later(Connection, Kind, Dest, Request, SendTimeout) ->
    cast_on(Connection, Kind, Dest, Request, {in, SendTimeout}, ?ATTEMPTS).

cast_on({ok, Port}, Kind, Dest, {Code, Body} = Request, Until0, Attempts) ->
    Until = ship(Port, Code, Until0),
    case submit_cast(Kind, Port, Body, Until) of
        again -> cast_on(none, Kind, Dest, Request, Until, Attempts);
        Result -> sent(Kind, Dest, Result)
    end;
cast_on(none, Kind, Dest, Request, Until0, Attempts) ->
    Until = fixed(Until0),
    cast_on(connect(Dest, Until, Attempts), Kind, Dest, Request, Until, Attempts - 1);
cast_on({failed, _Class, _Reason} = Failed, Kind, Dest, _Request, _Until, _Attempts) ->
    sent(Kind, Dest, Failed).

%% To the own node, with the same policy and the same time limit.
cast_in_order(Dest, Request, Until0, Turn) ->
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
                        timeout -> sent(ordered, Dest, send_timeout);
                        _ -> cast_in_order(Dest, Request, Until, again)
                    end;
                Refused ->
                    sent(ordered, Dest, Refused)
            end;
        down ->
            _ = connection(Dest),
            sent(ordered, Dest, {failed, badrpc, restarting})
    end.

sent(_Kind, _Dest, ok) -> ok;
sent(Kind, Dest, drop) -> not_sent(Kind, Dest, casts_dropped, {badrpc, overload});
sent(Kind, Dest, error) -> not_sent(Kind, Dest, casts_refused, overload);
sent(Kind, Dest, send_timeout) -> not_sent(Kind, Dest, casts_dropped, {badtcp, send_timeout});
sent(Kind, Dest, {message_too_big, _, _} = Reason) ->
    not_sent(Kind, Dest, casts_failed, {badrpc, Reason});
sent(Kind, Dest, {failed, Class, Reason}) ->
    not_sent(Kind, Dest, casts_failed, {Class, Reason}).

not_sent(Kind, Dest, Counter, Why) ->
    ok = gen_rpc_counters:add(Counter, 1),
    {not_sent, Kind, Dest, Why}.

%% What a cast was not sent for, in the log; unless it is the policy to raise an error.
-spec logged(ok | not_sent()) -> ok | refused.
logged(ok) ->
    ok;
logged({not_sent, _Kind, _Dest, overload}) ->
    refused;
logged({not_sent, Kind, Dest, {_Class, Reason}}) ->
    gen_rpc_log:message(#{what => name(Kind) ++ " dropped", node => gen_rpc_dest:node(Dest),
                          reason => gen_rpc_log:shown(Reason)}).

name(cast) -> "cast";
name(ordered) -> "ordered cast";
name(broadcast) -> "broadcast".

-spec overload_policy() -> block | drop | error.
overload_policy() ->
    gen_rpc_config:get(cast_overload_policy).

%%% Encoding

%% A call as it is sent, and the modules that it needs on the other side.
-spec encode(gen_rpc_codec:call()) -> encoded().
encode({M, F, A} = Call) ->
    {gen_rpc_code:of_call(Call), gen_rpc_codec:encode(M, F, A)}.

%% Before a request that needs modules: what the connection has not been offered yet is offered, and
%% brought if it is wanted. Whatever goes wrong there, the request will show it.
ship(_Port, [], Until) ->
    Until;
ship(Port, Code, Until0) ->
    case gen_rpc_code:is_known(Port, Code) of
        true ->
            Until0;
        false ->
            Until = fixed(Until0),
            case ask_of_code(Port, gen_rpc_code:offer(Code), Until) of
                {return, Wanted} when is_list(Wanted) ->
                    ok = bring(Port, gen_rpc_code:read(Code, Wanted), Until),
                    ok = gen_rpc_code:known(Port, Code);
                _ ->
                    ok
            end,
            Until
    end.

bring(_Port, [], _Until) ->
    ok;
bring(Port, Wares, Until) ->
    _ = ask_of_code(Port, {load, Wares}, Until),
    ok.

ask_of_code(Port, Request, Until) ->
    case submit_call(call, Port, gen_rpc_codec:encode_code(Request), Until, Until, first) of
        again -> again;
        Answer -> outcome(Answer)
    end.

%%% Connection

%% Of a node that could not be reached a moment ago that is said at once. Raises if the application
%% does not run.
-spec connection(gen_rpc:dest()) -> connection().
connection(Dest) ->
    case gen_rpc_registry:lookup(Dest) of
        {ok, _Port} = Found -> Found;
        none -> none;
        {unreachable, Reason} -> unreachable(Reason);
        not_started -> error({not_started, gen_rpc})
    end.

%% By way of the client, which has heard of the end of its connection before it hears of us. So
%% this never returns a port that has refused us already, as the registry may for a moment.
connect(_Dest, _Until, 0) ->
    {failed, badrpc, nodedown};
connect(Dest, Until, Attempts) ->
    case gen_rpc_dispatcher:client(Dest) of
        {ok, Client} ->
            case gen_rpc_client:await(Client, left(Until)) of
                {ok, _Port} = Found -> Found;
                gone -> connect(Dest, Until, Attempts - 1);
                timeout -> {failed, badrpc, timeout};
                {error, Reason} -> unreachable(Reason)
            end;
        {error, _Reason} ->
            %% Restarting, by its supervisor: that takes a moment.
            receive after ?RESTART_TIME -> connect(Dest, Until, Attempts - 1) end
    end.

%% Why there is no connection, as a caller hears of it.
unreachable(invalid_cookie) -> {failed, badrpc, invalid_cookie};
unreachable({external_source_error, _} = Reason) -> {failed, badrpc, Reason};
unreachable({tls, _} = Reason) -> {failed, badtcp, Reason};
unreachable(_Reason) -> {failed, badrpc, nodedown}.

%%% Requests whose answers come to a mailbox, under a tag, and are taken there by somebody else.

%% Submits a call on a connection that is up, without waiting for anything. `later': that takes
%% waiting.
-spec start(connection(), Tag :: term(), pos_integer(), encoded(), timeout()) ->
          {ok, port()} | later | {done, gen_rpc_result:outcome()}.
start({ok, Port}, Tag, Id, {Code, Body}, Timeout) ->
    case gen_rpc_code:is_known(Port, Code)
        andalso gen_rpc_port:call(Port, Id, Timeout, term_to_binary(Tag), Body) of
        ok -> {ok, Port};
        busy -> _ = abandon(Port, Id, Tag), later;
        {too_big, Limit} -> {done, outcome({too_big, iolist_size(Body), Limit})};
        _UnknownClosingOrDown -> later
    end;
start(none, _Tag, _Id, _Request, _Timeout) ->
    later;
start({failed, _, _} = Failed, _Tag, _Id, _Request, _Timeout) ->
    {done, Failed}.

%% Submits a call whose answer, under its own reference, goes to a receiver; waits until there is a
%% connection and room. Whoever has an interest is told of the port first, as what was submitted
%% there may be answered at once.
-spec submit_for(connection(), gen_rpc:dest(),
                 {gen_rpc_port:receiver(), reference(), pos_integer()}, encoded(), timeout(),
                 fun((port()) -> _)) -> ok | {done, gen_rpc_result:outcome()}.
submit_for(Connection, Dest, For, Request, SendTimeout, Tell) ->
    submit_for(Connection, Dest, For, Request, {in, SendTimeout}, Tell, ?ATTEMPTS).

submit_for({ok, Port}, Dest, For, {Code, Body} = Request, SendUntil0, Tell, Attempts) ->
    SendUntil = ship(Port, Code, SendUntil0),
    _ = Tell(Port),
    case submit_for_in_turn(Port, For, Body, SendUntil, first) of
        {again, Left} -> submit_for(none, Dest, For, Request, Left, Tell, Attempts);
        Result -> Result
    end;
submit_for(none, Dest, For, Request, SendUntil, Tell, Attempts) ->
    submit_for(connect(Dest, infinity, Attempts), Dest, For, Request, SendUntil, Tell,
               Attempts - 1);
submit_for({failed, _, _} = Failed, _Dest, _For, _Request, _SendUntil, _Tell, _Attempts) ->
    {done, Failed}.

submit_for_in_turn(Port, {Receiver, Ref, Id} = For, Body, SendUntil0, Turn) ->
    case gen_rpc_port:call_for(Port, Receiver, Id, infinity, term_to_binary(Ref), Body) of
        ok ->
            ok;
        busy ->
            SendUntil = fixed(SendUntil0),
            case await_room(calls, Port, Id, Ref, SendUntil, Turn) of
                ready -> submit_for_in_turn(Port, For, Body, SendUntil, again);
                again -> {again, SendUntil};
                send_timeout -> {done, outcome(no_room(send_timeout))}
            end;
        {too_big, Limit} ->
            {done, outcome({too_big, iolist_size(Body), Limit})};
        _ClosingOrDown ->
            {again, SendUntil0}
    end.

%%% Submission. A call or cast makes its reference here, so the compiler lets the receive skip what
%%% was in the mailbox before.

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
            case await_room(casts, Port, Id, Ref, Until, Turn) of
                ready -> submit_cast_in_turn(Kind, Port, Request, Until, again);
                Room -> Room
            end;
        Result ->
            submitted_cast(Result, Request)
    end.

%% For who was told `busy', under that id and reference.
await_room(What, Port, Id, Ref, Until, Turn) ->
    Since = now_ms(),
    Room = receive
               {Ref, ready} -> ready;
               {Ref, {unsent, _}} -> again
           after left(Until) ->
               _ = abandon(Port, Id, Ref),
               send_timeout
           end,
    ok = gen_rpc_counters:blocked(What, Turn, Since),
    Room.

submitted_cast(ok, _Request) -> ok;
submitted_cast({too_big, Limit}, Request) -> {message_too_big, iolist_size(Request), Limit};
submitted_cast(_ClosingOrDown, _Request) -> again.

%% Gives up waiting. An answer that came in the meantime counts, and none stays in the mailbox.
abandon(Port, Id, Ref, Late) ->
    case abandon(Port, Id, Ref) of
        none -> Late;
        unknown -> Late;
        Answer -> Answer
    end.

%% The same of any tag. `unknown': there was an answer, and somebody has taken it.
-spec abandon(port(), pos_integer(), Tag :: term()) -> answer() | none | unknown.
abandon(Port, Id, Tag) ->
    {Grace, Nothing} = case gen_rpc_port:cancel(Port, Id) of
                           cancelled -> {0, none};
                           answered -> {0, unknown};
                           closed -> {?CLOSING_GRACE, unknown}
                       end,
    receive
        {Tag, ready} -> none;
        {Tag, Answer} -> Answer
    after Grace ->
        Nothing
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
