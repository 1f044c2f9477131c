%% SPDX-License-Identifier: Apache-2.0
%% A client of its own, made of gen_tcp and docs/PROTOCOL.md alone: it stops, lies and babbles
%% wherever a test wants it to.
-module(gen_rpc_test_stranger).

-export([connect/1, connect/2, hello/2, proof/3, login/4, log_in/1, log_in/2, frame/3]).
-export([frame/5, receive_frame/1, until_pong/1, until_used/3, recv/2, is_closed/1,
         is_closed_now/1, reset/1]).

-define(TIMEOUT, 10000).
-define(MAGIC, 16#8e, "GR").
-define(VERSION, 1).
-define(HEAD, 8).
-define(CLIENT_LABEL, "gen_rpc client proof v1", 0).

-define(SERVER_HELLO, 2).
-define(RESULT, 4).

%% Types of frames.
-define(PING, 5).
-define(PONG, 6).
-define(WINDOW, 11).

-define(SMALL_LANE, 0).

-define(MAX_MESSAGE, 1000000).

-spec connect(inet:port_number()) -> gen_tcp:socket().
connect(Port) ->
    connect({127, 0, 0, 1}, Port).

%% From another address of loopback.
-spec connect(inet:ip4_address(), inet:port_number()) -> gen_tcp:socket().
connect(From, Port) ->
    {ok, Socket} = gen_tcp:connect({127, 0, 0, 1}, Port, [binary, {active, false}, {nodelay, true},
                                                          {ip, From}], ?TIMEOUT),
    Socket.

%% The first message: who we are, and whom we mean to reach.
-spec hello(binary(), binary()) -> binary().
hello(Name, Target) ->
    message(1, <<0:32, ?MAX_MESSAGE:64, (crypto:strong_rand_bytes(32))/binary,
                 (byte_size(Name)):16, Name/binary, (byte_size(Target)):16, Target/binary>>).

%% The proof that we know the cookie, for both hellos.
-spec proof(binary(), binary(), binary()) -> binary().
proof(Cookie, Hello, ServerHello) ->
    message(3, crypto:mac(hmac, sha256, Cookie, [<<?CLIENT_LABEL>>, Hello, ServerHello])).

%% The whole handshake.
-spec login(gen_tcp:socket(), binary(), binary(), binary()) -> ok | {refused, byte()}.
login(Socket, Name, Target, Cookie) ->
    Hello = hello(Name, Target),
    ok = gen_tcp:send(Socket, Hello),
    ServerHello = receive_message(Socket, ?SERVER_HELLO),
    ok = gen_tcp:send(Socket, proof(Cookie, Hello, ServerHello)),
    case receive_message(Socket, ?RESULT) of
        <<_:?HEAD/binary, 0, _/binary>> -> ok;
        <<_:?HEAD/binary, Status>> -> {refused, Status}
    end.

%% A guest of a node, which it lets in.
-spec log_in(gen_rpc_test_node:t()) -> gen_tcp:socket().
log_in(Server) ->
    log_in(Server, <<"guest@host">>).

-spec log_in(gen_rpc_test_node:t(), Name :: binary()) -> gen_tcp:socket().
log_in(#{node := Node, port := Port} = Server, Name) ->
    Socket = connect(Port),
    ok = login(Socket, Name, atom_to_binary(Node), gen_rpc_test_node:cookie(Server)),
    Socket.

%% After the handshake.
-spec frame(byte(), non_neg_integer(), iodata()) -> binary().
frame(Type, Id, Body) ->
    <<Type, 0:24, (iolist_size(Body)):32, Id:64, (iolist_to_binary(Body))/binary>>.

%% The same with flags and a slot.
-spec frame(byte(), byte(), 0..65535, non_neg_integer(), iodata()) -> binary().
frame(Type, Flags, Slot, Id, Body) ->
    <<Type, Flags, Slot:16, (iolist_size(Body)):32, Id:64, (iolist_to_binary(Body))/binary>>.

%% Takes whatever comes up to the answer to a ping: all that was sent before it has been read then.
-spec until_pong(gen_tcp:socket()) -> ok | closed.
until_pong(Socket) ->
    ok = gen_tcp:send(Socket, frame(?PING, 0, [])),
    take_until_pong(Socket).

take_until_pong(Socket) ->
    case recv(Socket, 16) of
        <<?PONG, _/binary>> -> ok;
        <<_:32, 0:32, _:64>> -> take_until_pong(Socket);
        <<_:32, Size:32, _:64>> -> _ = recv(Socket, Size), take_until_pong(Socket);
        closed -> closed
    end.

%% Takes whatever comes until so many bytes of small messages have been used, as a window counts. It
%% knows of some, and returns of how many it knows then.
-spec until_used(gen_tcp:socket(), Known :: non_neg_integer(), integer()) ->
          non_neg_integer() | closed.
until_used(_Socket, Known, Bytes) when Known >= Bytes ->
    Known;
until_used(Socket, Known, Bytes) ->
    case recv(Socket, 16) of
        <<?WINDOW, 0, ?SMALL_LANE:16, 0:32, Used:64>> -> until_used(Socket, Used, Bytes);
        <<_:32, 0:32, _:64>> -> until_used(Socket, Known, Bytes);
        <<_:32, Size:32, _:64>> -> _ = recv(Socket, Size), until_used(Socket, Known, Bytes);
        closed -> closed
    end.

-spec receive_frame(gen_tcp:socket()) -> {byte(), non_neg_integer(), binary()} | closed.
receive_frame(Socket) ->
    case recv(Socket, 16) of
        <<Type, 0:24, 0:32, Id:64>> -> {Type, Id, <<>>};
        <<Type, 0:24, Size:32, Id:64>> -> {Type, Id, recv(Socket, Size)};
        closed -> closed
    end.

-spec recv(gen_tcp:socket(), non_neg_integer()) -> binary() | closed.
recv(Socket, Size) ->
    case gen_tcp:recv(Socket, Size, ?TIMEOUT) of
        {ok, Bytes} -> Bytes;
        {error, Reason} when Reason =:= closed; Reason =:= econnreset -> closed
    end.

%% Whether the other side closes, whatever it says before that.
-spec is_closed(gen_tcp:socket()) -> boolean().
is_closed(Socket) ->
    case gen_tcp:recv(Socket, 0, ?TIMEOUT) of
        {ok, _} -> is_closed(Socket);
        {error, timeout} -> false;
        {error, _} -> true
    end.

%% Whether it has closed by now, and there is nothing that it has said before.
-spec is_closed_now(gen_tcp:socket()) -> boolean().
is_closed_now(Socket) ->
    case gen_tcp:recv(Socket, 0, 0) of
        {error, timeout} -> false;
        {error, _} -> true;
        {ok, _} -> false
    end.

%% Closes with a reset instead of an end.
-spec reset(gen_tcp:socket()) -> ok.
reset(Socket) ->
    ok = inet:setopts(Socket, [{linger, {true, 0}}]),
    gen_tcp:close(Socket).

message(Kind, Body) ->
    <<?MAGIC, ?VERSION, Kind, 0, (byte_size(Body)):16, Body/binary>>.

receive_message(Socket, Kind) ->
    <<?MAGIC, ?VERSION, Kind, 0, Size:16>> = Head = recv(Socket, ?HEAD),
    Body = recv(Socket, Size),
    <<Head/binary, Body/binary>>.
