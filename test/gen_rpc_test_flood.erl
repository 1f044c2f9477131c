%% SPDX-License-Identifier: Apache-2.0
%% Strangers that come to a port one after the other as fast as they can, from several addresses of
%% loopback. Each says the same and then holds its connection, until there are too many from its address.
-module(gen_rpc_test_flood).

-export([start/3, stop/1, count/1]).

%% Connections that are held from one address: more than there may be, and than the kernel keeps until
%% they are accepted.
-define(HELD, 1500).

-define(TIMEOUT, 10000).

-opaque t() :: {[pid()], counters:counters_ref()}.
-export_type([t/0]).

%% From so many addresses. Linked to its starter.
-spec start(inet:port_number(), 1..254, iodata()) -> t().
start(Port, Addresses, Bytes) ->
    Counter = counters:new(1, [write_concurrency]),
    {[spawn_link(fun() -> flood({127, 0, 2, I}, Port, Bytes, Counter, queue:new()) end)
      || I <- lists:seq(1, Addresses)], Counter}.

-spec stop(t()) -> ok.
stop({Pids, _}) ->
    lists:foreach(fun(Pid) ->
                          Monitor = monitor(process, Pid),
                          true = unlink(Pid),
                          true = exit(Pid, kill),
                          receive {'DOWN', Monitor, process, Pid, _} -> ok end
                  end, Pids).

%% How many have come.
-spec count(t()) -> non_neg_integer().
count({_, Counter}) ->
    counters:get(Counter, 1).

flood(From, Port, Bytes, Counter, Held) ->
    Options = [binary, {active, false}, {nodelay, true}, {linger, {true, 0}}, {ip, From}],
    case gen_tcp:connect({127, 0, 0, 1}, Port, Options, ?TIMEOUT) of
        {ok, Socket} ->
            _ = gen_tcp:send(Socket, Bytes), % it may be gone already
            ok = counters:add(Counter, 1, 1),
            flood(From, Port, Bytes, Counter, held(queue:in(Socket, Held)));
        {error, _} ->
            flood(From, Port, Bytes, Counter, Held)
    end.

held(Sockets) ->
    case queue:len(Sockets) > ?HELD of
        true ->
            {{value, Oldest}, Rest} = queue:out(Sockets),
            ok = gen_tcp:close(Oldest),
            Rest;
        false ->
            Sockets
    end.
