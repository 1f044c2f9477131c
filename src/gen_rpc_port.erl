%% SPDX-License-Identifier: Apache-2.0
%% @hidden
%% The driver's ports: the only module that opens one, commands it or knows its encodings. The
%% numbers here and in c_src/drv_port.h are the same, and ?VERSION changes with any of them.
%%
%% A port sends its owner
%%   {Port, up, PeerNode :: binary(), PeerLimit}   authenticated
%%   {Port, down, reason()}                        no socket any more; drain/1, then close/1
%%   {Port, requests, [Request]}                   credit/1 when they are started
%%   {Port, cancel, Id}                            with tell_cancels: nobody waits for it any more
%%   {Port, flush}                                 answer with flush/1
%%   {Port, idle}, {Port, bye}                     inactivity; the peer starts nothing new
%%   {Port, accepted, Child, Address}              a listener: answer with handshake/2
%%   {Port, refused, Count}, {Port, accept_error, Reason}
%% A Request is {Id, Body}, Id 0 for a cast: with max_running, ended/2 when its worker has ended. Or
%% it is {Id, Body, ordered | broadcast}: taken/3 when it is begun with.
%%
%% Whoever submitted gets {Ref, Reply :: binary()}, {Ref, ready}, {Ref, {lost | unsent, Reason}} or
%% {Ref, {too_big, Size, Limit}}.
-module(gen_rpc_port).

-export([load/0, open/0, try_open/0, close/1, load_tls/2, threads/2]).
-export([connect/4, listen/3, handshake/2, activate/1]).
-export([receiver/1, call/5, call_for/6, cast/5, ordered/5, broadcast/5, ask/5, reply/4, cancel/2]).
-export([flush/1, credit/1, ended/2, taken/3, goodbye/3, drain/1, info/1, infos/0, address/1]).

-define(DRIVER, "gen_rpc_drv").
-define(VERSION, "5").

-define(CONNECT, 1).
-define(LISTEN, 2).
-define(HANDSHAKE, 3).
-define(ACTIVATE, 4).
-define(CALL, 5).
-define(CAST, 6).
-define(REPLY, 7).
-define(ADMIT, 8).
-define(FLUSH, 9).
-define(CREDIT, 10).
-define(CANCEL, 11).
-define(CLOSE, 12).
-define(DRAIN, 13).
-define(INFO, 14).
-define(TLS_LOAD, 15).
-define(ORDERED, 16).
-define(BROADCAST, 17).
-define(ASK, 18).
-define(ENDED, 19).
-define(TAKEN, 20).
-define(CALL_FOR, 21).
-define(RECEIVE, 22).
-define(THREADS, 23).

-define(ST_BUSY, 1).
-define(ST_CLOSING, 2).
-define(ST_DOWN, 3).
-define(ST_TOO_BIG, 4).
-define(ST_ERROR, 5).
-define(ST_YES, 6).
-define(ST_NO, 7).

%% Up to here a message is copied into the command; beyond it the driver takes references.
-define(COPY_MAX, 16384).

%% A message of more pieces than this is packed, into pieces of at least the other size: the driver
%% takes a reference to each of them in one callback.
-define(PIECES_MAX, 64).
-define(PIECE_MIN, 65536).

-type connection() :: #{name := binary(),
                        cookie := binary(),
                        authentication_timeout := timeout(),
                        send_timeout := timeout(),
                        keepalive_interval := timeout(),
                        idle_timeout := timeout(),
                        output_limit := pos_integer(),
                        max_message_size := pos_integer(),
                        max_running := pos_integer() | infinity, % workers of the whole node
                        tell_cancels := boolean(),
                        compress := 0..9,
                        compress_context := boolean(),           % one for the connection
                        compression_threshold := pos_integer(),
                        socket_keepalive := {pos_integer(), pos_integer(), pos_integer()},
                        socket_buffer => size(), % what is read at once, at most
                        crowd => pos_integer(),  % server: how many are in their handshake from there
                        target => binary(),      % client
                        socket => socket_options(), % client
                        tls => tls_number(),     % without: plain TCP
                        server_name => binary()}. % client over TLS: to be sent; <<>>: none
%% Times in milliseconds, those of the socket in seconds; sizes in bytes.

%% What is decided before a socket connects or listens.
-type socket_options() :: #{ipv6_only := boolean(), % or else a socket of IPv6 speaks IPv4, too
                            sndbuf := size(),
                            recbuf := size()}.

-type size() :: pos_integer() | undefined. % undefined: the system's, or the driver's, own

-type listening() :: #{max_connections := pos_integer(),
                       socket => socket_options()}. % those it accepts have the same sizes

-type tls_number() :: pos_integer().

-type receiver() :: 1..65535.

%% Contents of files; <<>> for what is not given.
-type tls() :: #{role := client | server,
                 node := binary(),
                 certfile := binary(),
                 keyfile := binary(),
                 password := binary(),
                 cacertfile := binary(),
                 dhfile := binary(),
                 crlfile := binary(),
                 ciphers := binary(),            % names between colons
                 versions := {12 | 13, 12 | 13}, % least, most
                 depth := 0..255,
                 verify := boolean(),
                 fail_if_no_peer_cert := boolean(),
                 session_tickets := boolean()}.

%% Why a connection is down: an error of the socket or the protocol; what this side has found in
%% TLS; what the other side has told by an alert.
-type reason() :: atom() | {tls, atom() | {alert, atom()}}.

-type submitted() :: ok
                   | busy                              % {Ref, ready} will come
                   | closing                           % nothing sent; take another connection
                   | down                              % nothing sent
                   | {too_big, Limit :: pos_integer()}.

-type info() :: #{state := connecting | accepted | securing | open | closing | down,
                  role := client | server,
                  calls := non_neg_integer(),
                  served := non_neg_integer(),
                  waiting := non_neg_integer(),
                  output := non_neg_integer(),
                  bytes_in := non_neg_integer(),
                  bytes_out := non_neg_integer(),
                  frames_in := non_neg_integer(),
                  frames_out := non_neg_integer(),
                  late := non_neg_integer(),
                  held := non_neg_integer(),        % bytes of requests held back
                  too_late := non_neg_integer(),    % requests not started: their time was up
                  cancels_in := non_neg_integer(),
                  cancels_out := non_neg_integer(),
                  aborted := non_neg_integer(),     % large messages that their sender gave up
                  blocked := non_neg_integer(),     % times that a submitter was told to wait
                  blocked_ms := non_neg_integer(),  % and how long those waited who were woken
                  deflate_in := non_neg_integer(),  % bytes before compression
                  deflate_out := non_neg_integer(), % and after it
                  socket_keepalive := {non_neg_integer(), non_neg_integer(), non_neg_integer()},
                  socket_sndbuf := non_neg_integer(), % as the kernel counts
                  socket_recbuf := non_neg_integer(),
                  socket_buffer := non_neg_integer(), % 0: not open yet
                  tls := undefined | #{version := 'tlsv1.2' | 'tlsv1.3',
                                       cipher := binary(), % as IANA calls it
                                       resumed := boolean()}}.

-export_type([connection/0, socket_options/0, listening/0, receiver/0, tls/0, tls_number/0,
              reason/0, submitted/0, info/0]).

%% Loads the driver; it stays while the calling process lives.
-spec load() -> ok | {error, string()}.
load() ->
    case erl_ddll:load(code:priv_dir(gen_rpc), ?DRIVER) of
        ok -> ok;
        {error, Reason} -> {error, load_error(erl_ddll:format_error(Reason))}
    end.

%% The driver has no words of its own for why it does not start.
load_error("Driver init failed" = Text) ->
    Text ++ ": it was built for another version of mbedTLS than the one that is installed, or there "
        "is no memory";
load_error(Text) ->
    lists:flatten(Text).

%% Loads a TLS configuration, which lives as long as the port. Connections name it by its number.
%% IsForNode: whether its certificate is for the node in the options.
-spec load_tls(port(), tls()) ->
          {ok, tls_number(), IsForNode :: boolean()} | {error, {Option :: atom(), Why :: string()}} |
          {error, atom()}.
load_tls(Port, Tls) ->
    case control(Port, ?TLS_LOAD, encode_tls(Tls)) of
        [?ST_YES | Bytes] ->
            <<Number:64, IsForNode>> = list_to_binary(Bytes),
            {ok, Number, IsForNode =:= 1};
        [?ST_NO, Option | Why] ->
            {error, {element(Option + 1, {certfile, keyfile, password, cacertfile, dhfile, crlfile,
                                          ciphers, versions}), Why}};
        Result ->
            result(Result)
    end.

%% How many threads handshakes of TLS have, of all connections of the node. Some threads more that
%% have been started already go on.
-spec threads(port(), 1..64) -> ok.
threads(Port, Threads) ->
    ok = submitted(control(Port, ?THREADS, <<Threads>>)).

-spec open() -> port().
open() ->
    open_port({spawn_driver, ?DRIVER " " ?VERSION}, []).

%% For those who must go on if the VM has no port, or the driver no memory, for one more.
-spec try_open() -> {ok, port()} | {error, system_limit | enomem}.
try_open() ->
    try
        {ok, open()}
    catch
        error:Reason when Reason =:= system_limit; Reason =:= enomem -> {error, Reason}
    end.

%% Closes the port: everyone who still waits gets an answer. Leaves no exit signal behind.
-spec close(port()) -> ok.
close(Port) ->
    true = unlink(Port),
    try port_close(Port) of
        true -> ok
    catch
        error:badarg -> ok
    after
        receive {'EXIT', Port, _} -> ok after 0 -> ok end
    end.

%% Starts to connect; {Port, up, _, _} or {Port, down, _} follows.
-spec connect(port(), {inet:ip_address(), inet:port_number()}, timeout(), connection()) ->
          ok | {error, atom()}.
connect(Port, Address, Timeout, Connection) ->
    result(control(Port, ?CONNECT,
                   [address_bytes(Address), encode_socket(Connection), <<(ms(Timeout)):32>>,
                    encode(Connection)])).

%% Listens; returns the port number, which is another one if 0 was asked for.
-spec listen(port(), {inet:ip_address(), inet:port_number()}, listening()) ->
          {ok, inet:port_number()} | {error, atom()}.
listen(Port, Address, #{max_connections := MaxConnections} = Listening) ->
    case control(Port, ?LISTEN, [address_bytes(Address), encode_socket(Listening),
                                 <<MaxConnections:32>>]) of
        [?ST_YES, High, Low] -> {ok, High * 256 + Low};
        Result -> result(Result)
    end.

%% Starts to authenticate whoever is at an accepted port. When there are more handshakes of TLS than the
%% processor can do, those with the smallest crowds come first.
-spec handshake(port(), connection()) -> ok | down.
handshake(Port, Connection) ->
    Crowd = maps:get(crowd, Connection, 1),
    submitted(control(Port, ?HANDSHAKE, [<<Crowd:32>>, encode(Connection)])).

%% Lets requests come to the port's owner.
-spec activate(port()) -> ok | down.
activate(Port) ->
    submitted(control(Port, ?ACTIVATE, [])).

%% Makes the calling process one that call_for/6 can name, until the port is closed, which is good
%% for nothing else.
-spec receiver(port()) -> {ok, receiver()} | {error, atom()}.
receiver(Port) ->
    case control(Port, ?RECEIVE, []) of
        [?ST_YES, High, Low] -> {ok, High * 256 + Low};
        Result -> result(Result)
    end.

%% Submits a call. `ok': {Tag's reference, _} will come, whatever happens.
-spec call(port(), pos_integer(), timeout(), binary(), [binary()]) -> submitted().
call(Port, Id, Timeout, Tag, Request) ->
    submit(Port, ?CALL, Id, Timeout, Tag, Request).

%% The same, but another process gets the answer. `{Tag, ready}' comes to the calling one.
-spec call_for(port(), receiver(), pos_integer(), timeout(), binary(), [binary()]) -> submitted().
call_for(Port, Receiver, Id, Timeout, Tag, Request) ->
    submit(Port, ?CALL_FOR, Id, Timeout, Tag, <<Receiver:16>>, Request).

%% Submits a cast. Id and tag serve to wait when the connection is busy.
-spec cast(port(), non_neg_integer(), timeout(), binary(), [binary()]) -> submitted().
cast(Port, Id, Timeout, Tag, Request) ->
    submit(Port, ?CAST, Id, Timeout, Tag, Request).

%% Likewise, of ordered casts; one after the other on the other side.
-spec ordered(port(), non_neg_integer(), timeout(), binary(), [binary()]) -> submitted().
ordered(Port, Id, Timeout, Tag, Request) ->
    submit(Port, ?ORDERED, Id, Timeout, Tag, Request).

%% Likewise, of messages to registered processes, in order among themselves.
-spec broadcast(port(), non_neg_integer(), timeout(), binary(), [binary()]) -> submitted().
broadcast(Port, Id, Timeout, Tag, Message) ->
    submit(Port, ?BROADCAST, Id, Timeout, Tag, Message).

%% A broadcast that is answered as a call is.
-spec ask(port(), pos_integer(), timeout(), binary(), [binary()]) -> submitted().
ask(Port, Id, Timeout, Tag, Message) ->
    submit(Port, ?ASK, Id, Timeout, Tag, Message).

%% Submits the reply to a request. One that is too big is replaced by a notice to the caller.
-spec reply(port(), pos_integer(), binary(), [binary()]) -> ok | busy | down.
reply(Port, Id, Tag, Reply) ->
    submit(Port, ?REPLY, Id, infinity, Tag, Reply).

%% Forgets a call or a submitter that waits. `answered': its message is in the mailbox already;
%% `closed': it is there or about to be, because a port that closes answers everyone.
-spec cancel(port(), pos_integer()) -> cancelled | answered | closed.
cancel(Port, Id) ->
    case control(Port, ?CANCEL, <<Id:64>>) of
        [?ST_YES] -> cancelled;
        [?ST_NO] -> answered;
        [?ST_DOWN] -> closed
    end.

%% Writes what is queued: the answer to {Port, flush}.
-spec flush(port()) -> ok.
flush(Port) ->
    _ = control(Port, ?FLUSH, []),
    ok.

%% The owner has started the requests of one message.
-spec credit(port()) -> ok.
credit(Port) ->
    _ = control(Port, ?CREDIT, []),
    ok.

%% So many workers of {Id, Body} have ended.
-spec ended(port(), pos_integer()) -> ok.
ended(Port, Workers) ->
    _ = control(Port, ?ENDED, <<Workers:32>>),
    ok.

%% So many ordered messages, of so many bytes, are begun with, so the peer may send others.
-spec taken(port(), pos_integer(), non_neg_integer()) -> ok.
taken(Port, Messages, Bytes) ->
    _ = control(Port, ?TAKEN, <<Messages:32, Bytes:64>>),
    ok.

%% Begins a graceful close; {Port, down, normal} follows when all calls are done, or
%% {Port, down, close_timeout} after Linger. only_idle: `busy', and no close, if there are any.
-spec goodbye(port(), timeout(), always | only_idle) -> ok | busy | closing | down.
goodbye(Port, Linger, When) ->
    OnlyIdle = case When of always -> 0; only_idle -> 1 end,
    submitted(control(Port, ?CLOSE, <<(ms(Linger)):32, OnlyIdle>>)).

%% Answers all who wait on a port that is down, some at a time, so that no other port is delayed.
-spec drain(port()) -> ok.
drain(Port) ->
    case control(Port, ?DRAIN, []) of
        [?ST_YES] -> drain(Port);
        _ -> ok
    end.

%% What the driver knows of a connection; `undefined' if the port is closed.
-spec info(port()) -> info() | undefined.
info(Port) ->
    try port_control(Port, ?INFO, []) of
        Bytes -> decode_info(list_to_binary(Bytes))
    catch
        error:badarg -> undefined
    end.

%% The same of all connections of this node, in any state. Looking through the VM's ports needs no
%% list of connections to be kept, which could go wrong.
-spec infos() -> [info()].
infos() ->
    [Info || Port <- erlang:ports(),
             is_ours(erlang:port_info(Port, name)),
             (#{} = Info) <- [info(Port)]].

%% Those that a listener has made have a name without the version.
is_ours({name, Name}) -> lists:prefix(?DRIVER, Name);
is_ours(undefined) -> false.

%% The address of an accepted connection.
-spec address(binary()) -> {inet:ip_address(), inet:port_number()}.
address(<<4, Port:16, A, B, C, D>>) ->
    {{A, B, C, D}, Port};
address(<<6, Port:16, Parts/binary>>) ->
    {list_to_tuple([Part || <<Part:16>> <= Parts]), Port}.

%%% Submissions

submit(Port, Command, Id, Timeout, Tag, Message) ->
    submit(Port, Command, Id, Timeout, Tag, <<>>, Message).

submit(Port, Command, Id, Timeout, Tag, Receiver, Message) ->
    Head = <<Id:64, (ms(Timeout)):32, (byte_size(Tag)):16>>,
    case iolist_size(Message) of
        Size when Size =< ?COPY_MAX ->
            submitted(control(Port, Command, [Head, Tag, Receiver | Message]));
        Size ->
            case submitted(control(Port, ?ADMIT, [Head, Tag, <<Size:64, Command>>])) of
                ok -> command(Port, [<<Command>>, Head, Tag, Receiver | pack(Message)]);
                Refused -> Refused
            end
    end.

pack(Message) when length(Message) =< ?PIECES_MAX -> Message;
pack(Message) -> pack(Message, [], 0).

pack([Piece | Rest], Small, Size) when byte_size(Piece) < ?PIECE_MIN, Size < ?PIECE_MIN ->
    pack(Rest, [Piece | Small], Size + byte_size(Piece));
pack(Pieces, [_ | _] = Small, _Size) ->
    [iolist_to_binary(lists:reverse(Small)) | pack(Pieces, [], 0)];
pack([Piece | Rest], [], 0) ->
    [Piece | pack(Rest, [], 0)];
pack([], [], 0) ->
    [].

command(Port, Data) ->
    try port_command(Port, Data) of
        true -> ok
    catch
        error:badarg -> down
    end.

%% Data may hold a cookie, so a command never fails with its arguments in the stack.
control(Port, Command, Data) ->
    try
        port_control(Port, Command, Data)
    catch
        error:badarg -> [?ST_DOWN]
    end.

submitted([]) -> ok;
submitted([?ST_BUSY]) -> busy;
submitted([?ST_CLOSING]) -> closing;
submitted([?ST_DOWN]) -> down;
submitted([?ST_TOO_BIG | Limit]) -> {too_big, binary:decode_unsigned(list_to_binary(Limit))}.

result([]) -> ok;
result([?ST_DOWN]) -> {error, closed};
result([?ST_ERROR | Name]) -> {error, list_to_atom(Name)}.

%%% Encodings

ms(infinity) -> 16#FFFFFFFF;
ms(Time) -> Time.

address_bytes({{A, B, C, D}, Port}) ->
    <<4, Port:16, A, B, C, D>>;
address_bytes({Parts, Port}) when tuple_size(Parts) =:= 8 ->
    <<6, Port:16, << <<Part:16>> || Part <- tuple_to_list(Parts) >>/binary>>.

encode(#{socket_keepalive := {Idle, Interval, Count}} = C) ->
    #{authentication_timeout := Authentication, send_timeout := Send,
      keepalive_interval := Keepalive, idle_timeout := Inactive,
      output_limit := OutputLimit, max_message_size := MaxMessage, max_running := MaxRunning,
      tell_cancels := TellCancels, compress := Compress, compress_context := Context,
      compression_threshold := Threshold, name := Name, cookie := Cookie} = C,
    Target = maps:get(target, C, <<>>),
    Tls = maps:get(tls, C, 0),
    ServerName = maps:get(server_name, C, <<>>),
    Buffer = maps:get(socket_buffer, C, undefined),
    [<<(ms(Authentication)):32, (ms(Send)):32, (ms(Keepalive)):32, (ms(Inactive)):32,
       OutputLimit:64, MaxMessage:64, (limit(MaxRunning)):32, (bit(TellCancels)), Compress,
       (bit(Context)), Threshold:32, (bytes(Buffer)):32, Idle:32, Interval:32, Count:32>>,
     string(Name), string(Target), string(Cookie), <<Tls:64>>, string(ServerName)].

encode_socket(#{socket := #{ipv6_only := Only, sndbuf := SndBuf, recbuf := RecBuf}}) ->
    <<(bit(Only)), (bytes(SndBuf)):32, (bytes(RecBuf)):32>>;
encode_socket(#{}) ->
    encode_socket(#{socket => #{ipv6_only => false, sndbuf => undefined, recbuf => undefined}}).

encode_tls(#{role := Role, node := Node, versions := {Min, Max}, depth := Depth} = Tls) ->
    Flags = [bit(maps:get(Flag, Tls)) || Flag <- [verify, fail_if_no_peer_cert, session_tickets]],
    Blobs = [blob(maps:get(Key, Tls)) || Key <- [certfile, keyfile, password, cacertfile, dhfile,
                                                 crlfile, ciphers]],
    [bit(Role =:= server), Flags, Depth, Min, Max, string(Node), Blobs].

limit(infinity) -> 0;
limit(Limit) -> Limit.

bytes(undefined) -> 0;
bytes(Size) -> Size.

bit(true) -> 1;
bit(false) -> 0.

blob(Bytes) ->
    [<<(byte_size(Bytes)):32>>, Bytes].

string(Bytes) ->
    [<<(byte_size(Bytes)):16>>, Bytes].

decode_info(<<State, Server, Calls:64, Served:64, Waiting:64, Output:64, BytesIn:64, BytesOut:64,
              FramesIn:64, FramesOut:64, Late:64, Held:64, TooLate:64, CancelsIn:64,
              CancelsOut:64, Aborted:64, Blocked:64, BlockedMs:64, DeflateIn:64, DeflateOut:64,
              Idle:32, Interval:32, Count:32, SndBuf:32, RecBuf:32, Buffer:32, Tls/binary>>) ->
    #{state => element(State + 1, {connecting, accepted, securing, open, closing, down}),
      role => case Server of 0 -> client; 1 -> server end,
      calls => Calls,
      served => Served,
      waiting => Waiting,
      output => Output,
      bytes_in => BytesIn,
      bytes_out => BytesOut,
      frames_in => FramesIn,
      frames_out => FramesOut,
      late => Late,
      held => Held,
      too_late => TooLate,
      cancels_in => CancelsIn,
      cancels_out => CancelsOut,
      aborted => Aborted,
      blocked => Blocked,
      blocked_ms => BlockedMs,
      deflate_in => DeflateIn,
      deflate_out => DeflateOut,
      socket_keepalive => {Idle, Interval, Count},
      socket_sndbuf => SndBuf,
      socket_recbuf => RecBuf,
      socket_buffer => Buffer,
      tls => decode_tls(Tls)}.

decode_tls(<<0>>) ->
    undefined;
decode_tls(<<Version, Resumed, Cipher/binary>>) ->
    #{version => case Version of 12 -> 'tlsv1.2'; 13 -> 'tlsv1.3' end,
      cipher => Cipher,
      resumed => Resumed =:= 1}.
