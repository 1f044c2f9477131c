%% SPDX-License-Identifier: Apache-2.0
%% @hidden
%% Conversations with epmd, or with the module that `-epmd_module' put in its place. OTP's own
%% client can enter one name only, and that is the node's, so epmd itself is spoken to here.
-module(gen_rpc_epmd).

-export([name/2, how_to_enter/2, enter/2, look_up/3]).

-define(PORT, 4369).

%% For each step of a conversation with the epmd of this machine, ms.
-define(TIMEOUT, 2000).

%% Longer ones epmd does not take, bytes.
-define(NAME_MAX, 1020).

%% Under which a node enters the port of a driver. `none': the node has no name, or no possible one.
-spec name(gen_rpc_config:driver(), node()) -> {ok, string()} | none.
name(_Driver, nonode@nohost) ->
    none;
name(Driver, Node) ->
    case gen_rpc_dest:parts(Node) of
        {Name, _Host} -> not_too_long(lists:concat(["gen_rpc-", Driver, "-", Name]));
        none -> none
    end.

not_too_long(Name) ->
    case byte_size(unicode:characters_to_binary(Name)) =< ?NAME_MAX of
        true -> {ok, Name};
        false -> none
    end.

%% `directly': by enter/2. Else by a function of somebody else's, which returns {ok, _}.
-spec how_to_enter(string(), inet:port_number()) -> directly | {module(), atom(), [term()]}.
how_to_enter(Name, Port) ->
    case net_kernel:epmd_module() of
        erl_epmd ->
            directly;
        Module ->
            case exports(Module, register_node, 3) of
                true -> {Module, register_node, [Name, Port, inet]};
                false -> {Module, register_node, [Name, Port]}
            end
    end.

%% Into the epmd of this machine. The name stays there until the socket closes, of which the caller
%% gets a message.
-spec enter(string(), inet:port_number()) -> {ok, gen_tcp:socket()} | {error, term()}.
enter(Name, Port) ->
    case connect({127, 0, 0, 1}, ?TIMEOUT) of
        {ok, Socket} ->
            case entered(Socket, Name, Port) of
                ok ->
                    {ok, Socket};
                Error ->
                    ok = gen_tcp:close(Socket),
                    Error
            end;
        Error ->
            Error
    end.

entered(Socket, Name, Port) ->
    case ask(Socket, gen_rpc_epmd_codec:alive(Name, Port), fun gen_rpc_epmd_codec:alive_reply/1,
             ?TIMEOUT) of
        ok -> inet:setopts(Socket, [{active, true}]);
        refused -> {error, name_in_use};
        Error -> Error
    end.

%% The port that was entered under a name on another host.
-spec look_up(string(), Host :: string(), timeout()) -> {ok, inet:port_number()} | {error, term()}.
look_up(Name, Host, Timeout) ->
    case net_kernel:epmd_module() of
        erl_epmd -> look_up_there(Name, Host, Timeout);
        Module -> looked_up(port_please(Module, Name, Host, Timeout))
    end.

look_up_there(Name, Host, Timeout) ->
    case connect(Host, Timeout) of
        {ok, Socket} ->
            Result = ask(Socket, gen_rpc_epmd_codec:port_please(Name),
                         fun gen_rpc_epmd_codec:port_reply/1, Timeout),
            ok = gen_tcp:close(Socket),
            case Result of
                unknown_name -> {error, not_registered};
                _ -> Result
            end;
        Error ->
            Error
    end.

port_please(Module, Name, Host, Timeout) ->
    case exports(Module, port_please, 3) of
        true -> Module:port_please(Name, Host, Timeout);
        false -> Module:port_please(Name, Host)
    end.

looked_up({port, Port, _Version}) -> {ok, Port};
looked_up(noport) -> {error, not_registered};
looked_up({error, _} = Error) -> Error;
looked_up(_Other) -> {error, invalid_answer}.

exports(Module, Function, Arity) ->
    _ = code:ensure_loaded(Module),
    erlang:function_exported(Module, Function, Arity).

%%% Sockets

connect(Address, Timeout) ->
    Options = [binary, {active, false}],
    case gen_tcp:connect(Address, port_number(), [inet | Options], Timeout) of
        {error, nxdomain} -> gen_tcp:connect(Address, port_number(), [inet6 | Options], Timeout);
        Result -> Result
    end.

%% Where epmd listens, here and on all other hosts. `erl' makes this argument of ERL_EPMD_PORT.
port_number() ->
    case init:get_argument(epmd_port) of
        {ok, [[Text | _] | _]} -> try list_to_integer(Text) catch error:badarg -> ?PORT end;
        _ -> ?PORT
    end.

ask(Socket, Request, Decode, Timeout) ->
    case gen_tcp:send(Socket, Request) of
        ok -> answer(Socket, Decode, <<>>, Timeout);
        Error -> Error
    end.

answer(Socket, Decode, Before, Timeout) ->
    case gen_tcp:recv(Socket, 0, Timeout) of
        {ok, Bytes} ->
            case Decode(<<Before/binary, Bytes/binary>>) of
                more -> answer(Socket, Decode, <<Before/binary, Bytes/binary>>, Timeout);
                invalid -> {error, invalid_answer};
                Answer -> Answer
            end;
        Error ->
            Error
    end.
