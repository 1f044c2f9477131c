%% SPDX-License-Identifier: Apache-2.0
%% @hidden
%% The options of ssl_server_options and ssl_client_options: names, defaults, what is allowed. Pure,
%% except that load/3 reads the files.
-module(gen_rpc_tls_options).

-export([setting/1, check/2, load/3, server_name/2, format/1]).

-type role() :: client | server.
-type setting() :: ssl_client_options | ssl_server_options.

%% The value of a password is shown as `hidden'.
-type reason() :: {invalid_setting, {setting(), Option :: atom()}, Value :: term(),
                   Allowed :: string()}
                | {invalid_setting, setting(), hidden, Allowed :: string()}
                | {unknown_setting, {setting(), Option :: term()}, Known :: [atom()]}
                | {invalid_file, {setting(), Option :: atom()}, File :: file:name_all(),
                   Why :: string()}.

-type options() :: #{atom() => term()}. % checked, with defaults
-export_type([role/0, options/0, reason/0]).

-define(FILE_WORDS, "the name of a file, a string or a binary").

%% What mbedTLS can follow.
-define(DEPTH_MAX, 8).

%% Option, default, check, what is allowed in words. `required': there is no default.
known() ->
    [{certfile, required, fun is_file/1, ?FILE_WORDS},
     {keyfile, undefined, fun is_file/1, ?FILE_WORDS},
     {password, <<>>, fun is_text/1, "a string or a binary"},
     {cacertfile, undefined, fun is_file/1, ?FILE_WORDS},
     {dhfile, undefined, fun is_file/1, ?FILE_WORDS},
     {crlfile, undefined, fun is_file/1, ?FILE_WORDS},
     {versions, default, fun is_versions/1, "a list of 'tlsv1.2' and 'tlsv1.3'"},
     {ciphers, [], fun is_ciphers/1,
      "a list of names of suites, or one string of them with colons in between"},
     {depth, ?DEPTH_MAX, fun(V) -> is_integer(V) andalso V >= 0 andalso V =< ?DEPTH_MAX end,
      lists:concat(["0..", ?DEPTH_MAX])},
     {verify, verify_peer, fun(V) -> V =:= verify_peer orelse V =:= verify_none end,
      "verify_peer or verify_none"},
     {session_tickets, true, fun is_boolean/1, "true or false"}].

known(server) ->
    known() ++ [{fail_if_no_peer_cert, true, fun is_boolean/1, "true or false"}];
known(client) ->
    known() ++ [{server_name_indication, default, fun is_server_name/1,
                 "a host name of 1..255 ASCII characters, or disable"}].

%% The setting that holds the options of a role.
-spec setting(role()) -> setting().
setting(client) -> ssl_client_options;
setting(server) -> ssl_server_options.

%% Checks the options of one role, and fills in defaults. Opens no file.
-spec check(role(), term()) -> {ok, options()} | {error, reason()}.
check(Role, Given) ->
    case is_list(Given) andalso length_or_none(Given) =/= none andalso
        lists:all(fun is_option/1, Given) of
        true ->
            check_known(Role, proplists:to_map(Given));
        false ->
            %% There may be a password where nobody expects one.
            {error, {invalid_setting, setting(Role), hidden, "a list of {Option, Value}"}}
    end.

length_or_none(List) ->
    try length(List) catch error:badarg -> none end.

is_option({Key, _}) -> is_atom(Key);
is_option(_) -> false.

check_known(Role, Given) ->
    Known = known(Role),
    case maps:keys(maps:without([Key || {Key, _, _, _} <- Known], Given)) of
        [] -> check_each(Role, Known, Given, #{});
        [Unknown | _] -> {error, {unknown_setting, {setting(Role), Unknown},
                                  lists:sort([Key || {Key, _, _, _} <- Known])}}
    end.

check_each(Role, [{Key, Default, Check, Allowed} | Rest], Given, Acc) ->
    case Given of
        #{Key := Value} ->
            case Check(Value) of
                true -> check_each(Role, Rest, Given, Acc#{Key => Value});
                false -> invalid(Role, Key, Value, Allowed)
            end;
        #{} when Default =:= required ->
            invalid(Role, Key, undefined, Allowed);
        #{} ->
            check_each(Role, Rest, Given, Acc#{Key => Default})
    end;
check_each(Role, [], _Given, #{verify := verify_peer, cacertfile := undefined}) ->
    invalid(Role, cacertfile, undefined, ?FILE_WORDS " (or verify must be verify_none)");
check_each(_Role, [], _Given, Acc) ->
    {ok, Acc}.

invalid(Role, password, _Value, Allowed) ->
    {error, {invalid_setting, {setting(Role), password}, hidden, Allowed}};
invalid(Role, Key, Value, Allowed) ->
    {error, {invalid_setting, {setting(Role), Key}, Value, Allowed}}.

%% Reads the files, and has the driver make a configuration of them, which belongs to the port.
-spec load(port(), role(), options()) ->
          {ok, gen_rpc_port:tls_number(), IsForNode :: boolean()} | {error, reason() | atom()}.
load(Port, Role, Options) ->
    case read_files([certfile, keyfile, cacertfile, dhfile, crlfile], files(Options), #{}) of
        {ok, Contents} ->
            case gen_rpc_port:load_tls(Port, tls(Role, Options, Contents)) of
                {error, {Option, Why}} -> {error, refused(Role, Option, Options, Why)};
                Result -> Result
            end;
        {error, {Option, File, Why}} ->
            {error, {invalid_file, {setting(Role), Option}, File, Why}}
    end.

%% A key may stand in the file of its certificate.
files(#{keyfile := undefined, certfile := File} = Options) -> Options#{keyfile := File};
files(Options) -> Options.

read_files([Option | Rest], Options, Acc) ->
    case Options of
        #{Option := undefined} ->
            read_files(Rest, Options, Acc#{Option => <<>>});
        #{Option := File} ->
            case file:read_file(File) of
                {ok, <<>>} -> {error, {Option, File, "it is empty"}};
                {ok, Bytes} -> read_files(Rest, Options, Acc#{Option => Bytes});
                {error, Reason} -> {error, {Option, File, file:format_error(Reason)}}
            end
    end;
read_files([], _Options, Acc) ->
    {ok, Acc}.

tls(Role, #{password := Password, ciphers := Ciphers, versions := Versions} = Options, Contents) ->
    #{depth := Depth, verify := Verify, session_tickets := Tickets} = Options,
    Contents#{role => Role,
              node => atom_to_binary(node()),
              password => unicode:characters_to_binary(Password),
              ciphers => cipher_names(Ciphers),
              versions => version_range(Versions),
              depth => Depth,
              verify => Verify =:= verify_peer,
              fail_if_no_peer_cert => maps:get(fail_if_no_peer_cert, Options, true),
              session_tickets => Tickets}.

refused(Role, Option, Options, Why) ->
    Setting = {setting(Role), Option},
    case lists:member(Option, [password, ciphers, versions]) of
        true when Option =:= password -> {invalid_setting, Setting, hidden, Why};
        true -> {invalid_setting, Setting, maps:get(Option, Options), Why};
        false -> {invalid_file, Setting, maps:get(Option, files(Options)), Why}
    end.

%% What a client tells the server it wants to reach: the host of the node, unless it is an address.
-spec server_name(options(), node()) -> binary().
server_name(#{server_name_indication := disable}, _Node) ->
    <<>>;
server_name(#{server_name_indication := default}, Node) ->
    case gen_rpc_dest:host(Node) of
        {ok, Host} ->
            case inet:parse_address(Host) of
                {ok, _} -> <<>>;
                {error, einval} -> ascii(Host)
            end;
        none ->
            <<>>
    end;
server_name(#{server_name_indication := Name}, _Node) ->
    iolist_to_binary(Name).

ascii(Host) ->
    case is_server_name(Host) of
        true -> list_to_binary(Host);
        false -> <<>>
    end.

%% Readable form of a reason.
-spec format(reason()) -> string().
format({invalid_setting, {Setting, Key}, Value, Allowed}) ->
    text("~s: ~s is ~0tp, must be ~ts", [Setting, Key, Value, Allowed]);
format({unknown_setting, {Setting, Key}, Known}) ->
    text("~s: unknown option ~0tp; the options are ~s",
         [Setting, Key, lists:join(", ", [atom_to_list(K) || K <- Known])]);
format({invalid_file, {Setting, Key}, File, Why}) ->
    text("~s: ~s ~ts: ~ts", [Setting, Key, File, Why]).

text(Format, Args) ->
    lists:flatten(io_lib:format(Format, Args)).

%%% Checks

is_file(V) -> is_text(V) andalso V =/= "" andalso V =/= <<>>.

is_text(V) when is_binary(V) -> true;
is_text(V) when is_list(V) -> length_or_none(V) =/= none andalso
                                  lists:all(fun(C) -> is_integer(C) andalso C > 0 end, V) andalso
                                  is_binary(unicode:characters_to_binary(V));
is_text(_) -> false.

is_versions([_ | _] = Versions) ->
    length_or_none(Versions) =/= none andalso Versions -- ['tlsv1.2', 'tlsv1.3'] =:= [] andalso
        length(lists:usort(Versions)) =:= length(Versions);
is_versions(_) ->
    false.

is_ciphers([_ | _] = Ciphers) ->
    length_or_none(Ciphers) =/= none andalso
        (is_name(Ciphers) orelse lists:all(fun is_name/1, Ciphers));
is_ciphers(_) ->
    false.

is_name([_ | _] = V) -> is_ascii(V);
is_name(_) -> false.

is_ascii(V) ->
    length_or_none(V) =/= none andalso
        lists:all(fun(C) -> is_integer(C) andalso C > $\s andalso C < 127 end, V).

is_server_name(disable) -> true;
is_server_name(V) -> is_name(V) andalso length(V) =< 255.

%%% As the driver takes them

cipher_names([[_ | _] | _] = Names) -> list_to_binary(lists:join(":", Names));
cipher_names(Names) -> list_to_binary(Names).

version_range(default) -> {0, 0};
version_range(Versions) ->
    Numbers = [case V of 'tlsv1.2' -> 12; 'tlsv1.3' -> 13 end || V <- Versions],
    {lists:min(Numbers), lists:max(Numbers)}.
