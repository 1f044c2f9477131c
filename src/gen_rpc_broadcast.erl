%% SPDX-License-Identifier: Apache-2.0
%% @hidden
%% Messages to a registered process on many nodes, and casts to many nodes. The caller serves those
%% nodes itself that don't make it wait. For each other one a helper waits, so that no node waits for
%% another one; and the caller waits for the helpers, so what it sends next comes later on every
%% node. Helpers keep the time limit themselves, and leave no message but their end.
-module(gen_rpc_broadcast).

-export([abcast/4, cast/3, sbcast/4, deliver/2]).
-export([help/1]).

%% Raises `overload' if the policy says so for one of the nodes, after all others were served.
-spec abcast([gen_rpc:dest()], atom(), term(), timeout()) -> abcast.
abcast(Dests, Name, Message, SendTimeout) ->
    {Own, Others} = lists:partition(fun gen_rpc_dest:is_own/1, Dests),
    lists:foreach(fun(_) -> deliver_here(Name, Message) end, Own),
    send(broadcast, Others, {[], encode(Others, Name, Message)}, SendTimeout).

%% A cast to each of them, likewise.
-spec cast([gen_rpc:dest()], gen_rpc_codec:call(), timeout()) -> abcast.
cast(Dests, Call, SendTimeout) ->
    {Own, Others} = lists:partition(fun gen_rpc_dest:is_own/1, Dests),
    lists:foreach(fun(_) -> gen_rpc_worker:local_cast(Call) end, Own),
    send(cast, Others, encode(Others, fun() -> gen_rpc_request:encode(Call) end), SendTimeout).

send(Kind, Dests, Request, SendTimeout) ->
    Started = [case gen_rpc_request:cast_at_once(Kind, Dest, Request) of
                   {later, Connection} -> start_later(Connection, Kind, Dest, Request, SendTimeout);
                   Result -> Result
               end || Dest <- Dests],
    case lists:member(refused, [settled(result(S)) || S <- Started]) of
        true -> error(overload);
        false -> abcast
    end.

start_later(Connection, Kind, Dest, Request, SendTimeout) ->
    start(fun() -> gen_rpc_request:cast_later(Connection, Kind, Dest, Request, SendTimeout) end).

settled({failed, _Killed}) -> ok;
settled(Result) -> gen_rpc_request:logged(Result).

%% Good are those where the name is registered, Bad all others, both in the order given.
-spec sbcast([Dest], atom(), term(), timeout()) -> {Good :: [Dest], Bad :: [Dest]}
              when Dest :: gen_rpc:dest().
sbcast(Dests, Name, Message, Timeout) ->
    Body = encode([Dest || Dest <- Dests, not gen_rpc_dest:is_own(Dest)], Name, Message),
    Asked = [{Dest, case gen_rpc_dest:is_own(Dest) of
                        true -> deliver_here(Name, Message);
                        false -> ask(Dest, Body, Timeout)
                    end} || Dest <- Dests],
    Answers = [{Dest, result(Answer)} || {Dest, Answer} <- Asked],
    {[Dest || {Dest, true} <- Answers], [Dest || {Dest, Answer} <- Answers, Answer =/= true]}.

ask(Dest, Body, Timeout) ->
    Connection = gen_rpc_request:connection(Dest),
    start(fun() ->
                  gen_rpc_result:to_rpc(gen_rpc_request:ask(Connection, Dest, Body, Timeout))
          end).

encode(Dests, Name, Message) ->
    encode(Dests, fun() -> gen_rpc_codec:encode_broadcast(Name, Message) end).

%% Once for all, and not for nobody.
encode([], _Encode) -> [];
encode(_Dests, Encode) -> Encode().

%% From the own node, under the rules for all.
deliver_here(Name, Message) ->
    gen_rpc_gate:may_deliver(Name) andalso deliver(Name, Message).

%% On the node itself. Whether the name is registered.
-spec deliver(atom(), term()) -> boolean().
deliver(Name, Message) ->
    try erlang:send(Name, Message) of
        _ -> true
    catch
        error:badarg -> false
    end.

%%% Helpers

start(Fun) ->
    {helper, spawn_monitor(?MODULE, help, [Fun])}.

%% The exit reason is the result, so that one message is enough.
-spec help(fun(() -> term())) -> no_return().
help(Fun) ->
    exit({result, Fun()}).

result({helper, {Pid, Monitor}}) ->
    receive
        {'DOWN', Monitor, process, Pid, {result, Result}} -> Result;
        {'DOWN', Monitor, process, Pid, Reason} -> {failed, Reason}
    end;
result(Result) ->
    Result.
