%% SPDX-License-Identifier: Apache-2.0
%% A bad wire to a site: a TCP proxy in its namespace, which delays, splits, cuts off, resets and
%% changes what passes, in both directions. It is how packets are lost and broken for those who
%% use them, where the kernel cannot do it.
-module(gen_rpc_test_wire).

-export([start/3, stop/1, set/2]).

%% Times in ms. One piece in so many, of what is read at once, is changed or is the last.
-type mode() :: #{delay => pos_integer(),       % at most
                  split => boolean(),
                  cut => pos_integer(),         % its beginning passes, then both ends are closed
                  reset => pos_integer(),       % likewise, and both are reset
                  corrupt => pos_integer()}.
-type t() :: #{pid := pid(), modes := ets:table()}.
-export_type([mode/0, t/0]).

-define(OPTIONS, [binary, {active, false}, {nodelay, true}]).

%% Pieces that a split message comes in, bytes, and how much of what is read at once comes so.
-define(LONGEST_PIECE, 50).
-define(SPLIT_BYTES, 2000).

-define(CONNECT_TIMEOUT, 1000).

%% From one port of a site to another. It ends with its starter, however that ends.
-spec start(gen_rpc_test_net:site(), From :: inet:port_number(), To :: inet:port_number()) -> t().
start(I, From, To) ->
    Starter = self(),
    Pid = spawn_link(
            fun() ->
                    Modes = ets:new(modes, [public, {read_concurrency, true}]),
                    true = ets:insert(Modes, {mode, #{}}),
                    Netns = {netns, "/run/netns/" ++ gen_rpc_test_net:namespace(I)},
                    {ok, Listening} = gen_tcp:listen(From, [Netns, {reuseaddr, true},
                                                            {backlog, 128} | ?OPTIONS]),
                    Starter ! {self(), Modes},
                    accept(Listening, #{modes => Modes, options => [Netns | ?OPTIONS],
                                        target => {gen_rpc_test_net:address(I), To}})
            end),
    _ = spawn(fun() ->
                      Monitor = monitor(process, Starter),
                      receive {'DOWN', Monitor, process, Starter, _} -> exit(Pid, shutdown) end
              end),
    receive {Pid, Modes} -> #{pid => Pid, modes => Modes} end.

-spec stop(t()) -> ok.
stop(#{pid := Pid}) ->
    unlink(Pid),
    Monitor = monitor(process, Pid),
    exit(Pid, shutdown),
    receive {'DOWN', Monitor, process, Pid, _} -> ok end.

%% What happens from now on, also to connections that are there.
-spec set(t(), mode()) -> ok.
set(#{modes := Modes}, Mode) ->
    true = ets:insert(Modes, {mode, Mode}),
    ok.

accept(Listening, Wire) ->
    {ok, Client} = gen_tcp:accept(Listening),
    %% Linked, so they end with the wire.
    Pid = spawn_link(fun() -> receive go -> connection(Client, Wire) end end),
    _ = gen_tcp:controlling_process(Client, Pid),
    Pid ! go,
    accept(Listening, Wire).

connection(Client, #{target := {Address, Port}, options := Options} = Wire) ->
    case gen_tcp:connect(Address, Port, Options, ?CONNECT_TIMEOUT) of
        {ok, Server} ->
            _ = spawn_link(fun() -> pass(Server, Client, Wire) end),
            pass(Client, Server, Wire);
        {error, _} ->
            gen_tcp:close(Client)
    end.

%% Whoever finds that one end is gone closes both, whoever owns them.
pass(From, To, #{modes := Modes} = Wire) ->
    case gen_tcp:recv(From, 0) of
        {ok, Data} ->
            case pass_on(Data, To, ets:lookup_element(Modes, mode, 2)) of
                ok -> pass(From, To, Wire);
                closed -> close(From, To);
                reset -> reset(From, To)
            end;
        {error, _} ->
            close(From, To)
    end.

pass_on(Data, To, Mode) when Mode =:= #{} ->
    sent(gen_tcp:send(To, Data));
pass_on(Data0, To, Mode) ->
    ok = delay(Mode),
    Data = corrupted(Data0, Mode),
    case {by_chance(cut, Mode), by_chance(reset, Mode)} of
        {true, _} -> _ = gen_tcp:send(To, beginning(Data)), closed;
        {_, true} -> _ = gen_tcp:send(To, beginning(Data)), reset;
        _ -> send(Data, To, Mode)
    end.

delay(#{delay := Longest}) -> timer:sleep(rand:uniform(Longest));
delay(_) -> ok.

by_chance(What, Mode) ->
    is_map_key(What, Mode) andalso rand:uniform(maps:get(What, Mode)) =:= 1.

beginning(Data) ->
    binary:part(Data, 0, rand:uniform(byte_size(Data)) - 1).

%% One bit is another one.
corrupted(Data, Mode) ->
    case by_chance(corrupt, Mode) of
        true ->
            Before = rand:uniform(byte_size(Data)) - 1,
            <<Head:Before/binary, Byte, Rest/binary>> = Data,
            <<Head/binary, (Byte bxor (1 bsl (rand:uniform(8) - 1))), Rest/binary>>;
        false ->
            Data
    end.

send(Data, To, #{split := true}) ->
    split(Data, To, ?SPLIT_BYTES);
send(Data, To, _Mode) ->
    sent(gen_tcp:send(To, Data)).

split(Data, To, Left) when Left > 0, byte_size(Data) > ?LONGEST_PIECE ->
    Size = rand:uniform(?LONGEST_PIECE),
    <<Piece:Size/binary, Rest/binary>> = Data,
    case gen_tcp:send(To, Piece) of
        ok -> split(Rest, To, Left - Size);
        {error, _} -> closed
    end;
split(Data, To, _Left) ->
    sent(gen_tcp:send(To, Data)).

sent(ok) -> ok;
sent({error, _}) -> closed.

close(A, B) ->
    _ = gen_tcp:close(A),
    gen_tcp:close(B).

reset(A, B) ->
    _ = [inet:setopts(Socket, [{linger, {true, 0}}]) || Socket <- [A, B]],
    close(A, B).
