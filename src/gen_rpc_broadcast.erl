%% SPDX-License-Identifier: Apache-2.0
%% Messages to a registered process on many nodes. The caller serves those nodes itself that don't
%% make it wait. For each other one a helper waits, so that no node waits for another one; and the
%% caller waits for the helpers, so what it sends next comes later on every node. Helpers keep the
%% time limit themselves, and leave no message but their end.
-module(gen_rpc_broadcast).

-export([abcast/4, sbcast/4, deliver/2]).
-export([help/1]).

%% Raises `overload' if the policy says so for one of the nodes, after all others were served.
-spec abcast([gen_rpc:dest()], atom(), term(), timeout()) -> abcast.
abcast(Dests, Name, Message, SendTimeout) ->
    {Own, Others} = lists:partition(fun is_own/1, Dests),
    lists:foreach(fun(_) -> deliver(Name, Message) end, Own),
    Results = send(Others, encode(Others, Name, Message), SendTimeout),
    case lists:member(refused, Results) of
        true -> error(overload);
        false -> abcast
    end.

send(Dests, Body, SendTimeout) ->
    AtOnce = [{Dest, gen_rpc_request:broadcast_at_once(Dest, Body)} || Dest <- Dests],
    Helpers = [start(fun() -> gen_rpc_request:broadcast(Connection, Dest, Body, SendTimeout) end)
               || {Dest, {later, Connection}} <- AtOnce],
    [Result || {_Dest, Result} <- AtOnce] ++ [result(Helper) || Helper <- Helpers].

%% Good are those where the name is registered, Bad all others, both in the order given.
-spec sbcast([Dest], atom(), term(), timeout()) -> {Good :: [Dest], Bad :: [Dest]}
              when Dest :: gen_rpc:dest().
sbcast(Dests, Name, Message, Timeout) ->
    Body = encode([Dest || Dest <- Dests, not is_own(Dest)], Name, Message),
    Asked = [{Dest, case is_own(Dest) of
                        true -> deliver(Name, Message);
                        false -> ask(Dest, Body, Timeout)
                    end} || Dest <- Dests],
    Answers = [{Dest, result(Answer)} || {Dest, Answer} <- Asked],
    {[Dest || {Dest, true} <- Answers], [Dest || {Dest, Answer} <- Answers, Answer =/= true]}.

ask(Dest, Body, Timeout) ->
    Connection = gen_rpc_request:connection(Dest),
    start(fun() -> gen_rpc_request:ask(Connection, Dest, Body, Timeout) end).

encode([], _Name, _Message) -> [];
encode(_Dests, Name, Message) -> gen_rpc_codec:encode_broadcast(Name, Message).

is_own(Dest) ->
    gen_rpc_dest:node(Dest) =:= node().

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
