%% SPDX-License-Identifier: Apache-2.0
%% A TCP proxy on loopback between a client and a server, which can break their connection at an
%% exact byte.
-module(gen_rpc_test_proxy).

-export([start/1, stop/1, port/1, reset_after/3]).

-type t() :: {pid(), inet:port_number()}.
-type direction() :: to_server | to_client.

-define(OPTIONS, [binary, {active, false}, {nodelay, true}]).

%% Forwards to a port on loopback. Linked to its starter.
-spec start(inet:port_number()) -> t().
start(Target) ->
    Starter = self(),
    Pid = spawn_link(fun() ->
                             {ok, Listening} = gen_tcp:listen(0, [{ip, {127, 0, 0, 1}} | ?OPTIONS]),
                             {ok, Number} = inet:port(Listening),
                             Starter ! {self(), Number},
                             Proxy = self(),
                             _ = spawn_link(fun() -> accept(Listening, Proxy) end),
                             loop(#{target => Target, budget => none, pairs => #{}})
                     end),
    receive {Pid, Number} -> {Pid, Number} end.

-spec stop(t()) -> ok.
stop({Pid, _}) ->
    unlink(Pid),
    exit(Pid, kill),
    ok.

-spec port(t()) -> inet:port_number().
port({_, Number}) ->
    Number.

%% Lets so many bytes more through in that direction, then resets both ends. Once; connections made
%% afterwards are forwarded as before.
-spec reset_after(t(), direction(), non_neg_integer()) -> ok.
reset_after({Pid, _}, Direction, Bytes) ->
    Pid ! {budget, self(), {Direction, Bytes}},
    receive {Pid, ok} -> ok end.

accept(Listening, Proxy) ->
    {ok, Socket} = gen_tcp:accept(Listening),
    ok = gen_tcp:controlling_process(Socket, Proxy),
    Proxy ! {accepted, Socket},
    accept(Listening, Proxy).

loop(#{pairs := Pairs, target := Target} = State) ->
    receive
        {accepted, Client} ->
            {ok, Server} = gen_tcp:connect({127, 0, 0, 1}, Target, ?OPTIONS),
            _ = [inet:setopts(Socket, [{active, true}]) || Socket <- [Client, Server]],
            loop(State#{pairs := Pairs#{Client => {to_server, Server},
                                        Server => {to_client, Client}}});
        {budget, From, Budget} ->
            From ! {self(), ok},
            loop(State#{budget := Budget});
        {tcp, From, Data} when is_map_key(From, Pairs) ->
            loop(forward(From, maps:get(From, Pairs), Data, State));
        {Closed, From} when (Closed =:= tcp_closed), is_map_key(From, Pairs) ->
            {_, To} = maps:get(From, Pairs),
            ok = gen_tcp:close(To),
            loop(State#{pairs := maps:without([From, To], Pairs)});
        _OfAClosedPair ->
            loop(State)
    end.

forward(From, {Direction, To}, Data, #{budget := {Direction, Bytes}} = State) ->
    case Data of
        <<Last:Bytes/binary, _/binary>> ->
            _ = gen_tcp:send(To, Last),
            ok = reset(From),
            ok = reset(To),
            State#{budget := none, pairs := maps:without([From, To], maps:get(pairs, State))};
        _ ->
            _ = gen_tcp:send(To, Data),
            State#{budget := {Direction, Bytes - byte_size(Data)}}
    end;
forward(_From, {_Direction, To}, Data, State) ->
    _ = gen_tcp:send(To, Data),
    State.

reset(Socket) ->
    _ = inet:setopts(Socket, [{linger, {true, 0}}]),
    gen_tcp:close(Socket).
